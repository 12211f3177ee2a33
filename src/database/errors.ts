/**
 * True for errors of the value itself (class 22), of a constraint (class 23) or of a limit of the program (class 54):
 * the same input fails the same way again, so trying again helps nobody.
 */
export function isRefusedData(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^(22|23|54)/.test(code);
}
