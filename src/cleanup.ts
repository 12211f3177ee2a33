type Cleanup = () => unknown;

/**
 * Functions that release what was opened, run in reverse order. It is the part of `AsyncDisposableStack` that the
 * service needs: Node 22 has no such class.
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

  /** Runs every function once, also after one has failed, and then throws what the first failing one threw. */
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
