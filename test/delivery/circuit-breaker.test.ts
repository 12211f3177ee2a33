import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { admit, afterResult, type Circuit, CLOSED } from '../../src/delivery/circuit-breaker.ts';

const policy = { failureThreshold: 3, openMs: 1_000, maxOpenMs: 5_000 };
const fail = (circuit: Circuit, now = 0): Circuit => afterResult(circuit, true, now, policy);

describe('a circuit breaker', () => {
  it('opens after consecutive failures, not earlier', () => {
    const twice = fail(fail(CLOSED));
    expect(twice.state).toBe('closed');
    expect(fail(afterResult(twice, false, 0, policy)).state).toBe('closed');
    expect(fail(twice, 10)).toMatchObject({ state: 'open', retryAt: 1_010 });
  });

  it('allows one message after its timeout, whose outcome decides the next state', () => {
    const open = fail(fail(fail(CLOSED)));
    expect(admit(open, 999).isAdmitted).toBe(false);
    const trial = admit(open, 1_000);
    expect(trial).toMatchObject({ isAdmitted: true, circuit: { state: 'half_open' } });
    expect(admit(trial.circuit, 1_000).isAdmitted).toBe(false);
    expect(afterResult(trial.circuit, false, 1_100, policy)).toEqual(CLOSED);
    expect(fail(trial.circuit, 1_100)).toMatchObject({ state: 'open', retryAt: 3_100 });
  });

  it('stays open longer each time, up to a maximum', () => {
    let circuit = fail(fail(fail(CLOSED)));
    const waits: number[] = [];
    for (let now = 0; waits.length < 5;) {
      waits.push(circuit.retryAt - now);
      now = circuit.retryAt;
      circuit = fail(admit(circuit, now).circuit, now);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
  });

  it('never allows two messages unless it is closed, and always allows one eventually', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('ask', 'ok', 'fail'), fc.integer({ min: 0, max: 2_000 })));
    fc.assert(
      fc.property(steps, (events) => {
        let circuit = CLOSED;
        let now = 0;
        for (const [event, passed] of events) {
          now += passed;
          if (event === 'ask') {
            const before = circuit.state;
            const asked = admit(circuit, now);
            circuit = asked.circuit;
            // An open circuit breaker allows one message and becomes half-open.
            if (asked.isAdmitted && !(before === 'closed' || circuit.state === 'half_open')) return false;
            if (asked.isAdmitted && before === 'half_open') return false;
          } else circuit = afterResult(circuit, event === 'fail', now, policy);
        }
        if (circuit.state === 'half_open') circuit = fail(circuit, now);
        return admit(circuit, now + policy.maxOpenMs).isAdmitted;
      }),
    );
  });
});
