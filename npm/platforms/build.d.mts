export function buildPlatform(wanted: { binary: string; target?: string }): string;
export function libcOf(bytes: Uint8Array): 'glibc' | 'musl' | undefined;
export const targets: { platform: string; arch: string; rust: string; runner: string }[];
