/** A flag that one task can wait for. Several raises before a wait count once. */
export interface Signal {
  raise(): void;
  /** Waits until the flag is raised and lowers it. Resolves immediately when it is already raised. */
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
