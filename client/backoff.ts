const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** How long to wait before try number `attempt`, from 0: doubles, and is jittered so that clients do not come as one. */
export const backoff = (attempt: number): number =>
  Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
