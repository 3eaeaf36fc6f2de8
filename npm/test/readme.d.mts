export interface CodeBlock {
  language: string;
  file: string | undefined;
  text: string;
}
export function codeBlocks(): CodeBlock[];
export function recipe(file: string): string;
