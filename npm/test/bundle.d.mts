import type { BuildOptions } from 'esbuild';

export interface Size {
  bytes: number;
  gzip_bytes: number;
  without_socket_io_client_bytes: number;
}
export const SIZE: URL;
export function bundle(
  text: string,
  options: { folder: string } & BuildOptions,
): Promise<{ text: string; inputs: string[] }>;
export function clientSize(): Promise<Size>;
