/** Says that something is worth looking at. Raised many times before somebody waits, it counts once. */
export interface Signal {
  raise(): void;
  /** Resolves when it is raised, at once if it is already, and lowers it. */
  wait(): Promise<void>;
}

export function createSignal(): Signal {
  let isRaised = false;
  let wakeUp: (() => void) | undefined;
  return {
    raise: () => {
      isRaised = true;
      wakeUp?.();
    },
    wait: async () => {
      if (!isRaised) await new Promise<void>((resolve) => (wakeUp = resolve));
      wakeUp = undefined;
      isRaised = false;
    },
  };
}
