/**
 * A circuit breaker as a pure state machine.
 *
 *     closed ──failures in a row──► open ──its time is over──► half_open ──success──► closed
 *                                    ▲                             │
 *                                    └───────────failure───────────┘  for twice as long
 */
export interface Circuit {
  state: 'closed' | 'open' | 'half_open';
  /** In a row. */
  failures: number;
  /** How often it has opened in a row; each time it stays open twice as long. */
  openings: number;
  /** While `open`: when it may be tried. Milliseconds since the epoch. */
  retryAt: number;
}

export interface CircuitPolicy {
  failureThreshold: number;
  openMs: number;
  maxOpenMs: number;
}

export const DEFAULT_CIRCUIT: CircuitPolicy = { failureThreshold: 5, openMs: 10_000, maxOpenMs: 5 * 60_000 };

export const CLOSED: Circuit = { state: 'closed', failures: 0, openings: 0, retryAt: 0 };

/** Whether a message may go now. Of an open circuit whose time is over, the first becomes the trial of `half_open`. */
export function admit(circuit: Circuit, now: number): { circuit: Circuit; isAdmitted: boolean } {
  if (circuit.state === 'closed') return { circuit, isAdmitted: true };
  if (circuit.state === 'open' && now >= circuit.retryAt) {
    return { circuit: { ...circuit, state: 'half_open' }, isAdmitted: true };
  }
  return { circuit, isAdmitted: false };
}

/** What a result makes of it. Only failures that the provider is to blame for count. */
export function afterResult(circuit: Circuit, isFailure: boolean, now: number, policy: CircuitPolicy): Circuit {
  if (!isFailure) return circuit.state === 'open' ? circuit : CLOSED;
  const failures = circuit.failures + 1;
  // What was in hand when it opened may still fail: that opens nothing anew.
  if (circuit.state === 'open') return { ...circuit, failures };
  if (circuit.state === 'closed' && failures < policy.failureThreshold) return { ...circuit, failures };
  const openings = circuit.openings + 1;
  const openMs = Math.min(policy.maxOpenMs, policy.openMs * 2 ** (openings - 1));
  return { state: 'open', failures, openings, retryAt: now + openMs };
}
