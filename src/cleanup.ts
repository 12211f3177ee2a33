type Cleanup = () => unknown;

/**
 * Runs cleanup functions in reverse order. A subset of `AsyncDisposableStack`, which Node 22 does not have.
 */
export class CleanupStack implements AsyncDisposable {
  #cleanups: Cleanup[] = [];

  /** Adds a function that runs before those added earlier. */
  defer(cleanup: Cleanup): void {
    this.#cleanups.push(cleanup);
  }

  /** Moves every function to a new stack and leaves this one empty. */
  move(): CleanupStack {
    const moved = new CleanupStack();
    moved.#cleanups = this.#cleanups;
    this.#cleanups = [];
    return moved;
  }

  /** Runs every function once, also after a failure, and then throws the first error. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (let cleanup = this.#cleanups.pop(); cleanup !== undefined; cleanup = this.#cleanups.pop()) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
