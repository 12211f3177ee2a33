import { describe, inject } from 'vitest';

/** A suite that needs a Kafka: where there is none, it is reported as skipped, by its name and with the reason. */
export function describeWithKafka(name: string, tests: () => void): void {
  const unavailable = inject('kafkaBrokers') === '';
  const suffix = unavailable ? ` (no Kafka: ${shortReason()})` : '';
  describe.skipIf(unavailable)(`${name}${suffix}`, () => {
    tests();
  });
}

/** The global setup prints the whole reason; the last thing that was tried is the one to look at first. */
function shortReason(): string {
  const reason = inject('kafkaUnavailable').split('\n');
  return reason.findLast((line) => line.startsWith('- '))?.slice(2) ?? '';
}
