/** Whether this mode of a file lets other users of the machine read it. Windows has no such modes. */
export function isReadableByOthers(mode: number): boolean {
  return process.platform !== "win32" && (mode & 0o044) !== 0;
}
