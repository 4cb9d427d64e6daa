/** Colour by meaning. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

const same = (text: string) => text;

export const plain: Paint = { bold: same, dim: same, red: same, green: same, yellow: same };

/** Loads chalk only for colour output: it costs a fifth of Node's start-up time. */
export async function coloured(): Promise<Paint> {
  const { Chalk } = await import("chalk");
  return new Chalk({ level: 1 });
}
