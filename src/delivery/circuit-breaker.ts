/**
 * A circuit breaker as a pure state machine.
 *
 *     closed ──failures in a row──► open ──openMs has passed─► half_open ──success──► closed
 *                                    ▲                             │
 *                                    └───────────failure───────────┘  for twice as long
 */
export interface Circuit {
  state: 'closed' | 'open' | 'half_open';
  /** Consecutive failures. */
  failures: number;
  /** Consecutive openings; each one doubles the time that the circuit stays open. */
  openings: number;
  /** While `open`: time of the next trial call, in milliseconds since the epoch. */
  retryAt: number;
}

export interface CircuitPolicy {
  failureThreshold: number;
  openMs: number;
  maxOpenMs: number;
}

export const DEFAULT_CIRCUIT: CircuitPolicy = { failureThreshold: 5, openMs: 10_000, maxOpenMs: 5 * 60_000 };

export const CLOSED: Circuit = { state: 'closed', failures: 0, openings: 0, retryAt: 0 };

/** Decides whether a call may start. The first call after `retryAt` moves an open circuit to `half_open` as its trial. */
export function admit(circuit: Circuit, now: number): { circuit: Circuit; isAdmitted: boolean } {
  if (circuit.state === 'closed') return { circuit, isAdmitted: true };
  if (circuit.state === 'open' && now >= circuit.retryAt) {
    return { circuit: { ...circuit, state: 'half_open' }, isAdmitted: true };
  }
  return { circuit, isAdmitted: false };
}

/** Returns the circuit after a call. `isFailure` must be true only for failures that the provider caused. */
export function afterResult(circuit: Circuit, isFailure: boolean, now: number, policy: CircuitPolicy): Circuit {
  if (!isFailure) return circuit.state === 'open' ? circuit : CLOSED;
  const failures = circuit.failures + 1;
  // Calls that started before the circuit opened may still fail; they must not extend the open time.
  if (circuit.state === 'open') return { ...circuit, failures };
  if (circuit.state === 'closed' && failures < policy.failureThreshold) return { ...circuit, failures };
  const openings = circuit.openings + 1;
  const openMs = Math.min(policy.maxOpenMs, policy.openMs * 2 ** (openings - 1));
  return { state: 'open', failures, openings, retryAt: now + openMs };
}
