import { describe, inject } from 'vitest';

/** A suite that needs Kafka. Without Kafka it is reported as skipped, with the reason in its name. */
export function describeWithKafka(name: string, tests: () => void): void {
  const unavailable = inject('kafkaBrokers') === '';
  const suffix = unavailable ? ` (no Kafka: ${shortReason()})` : '';
  describe.skipIf(unavailable)(`${name}${suffix}`, () => {
    tests();
  });
}

/** The global setup prints all reasons. The last one is the most useful. */
function shortReason(): string {
  const reason = inject('kafkaUnavailable').split('\n');
  return reason.findLast((line) => line.startsWith('- '))?.slice(2) ?? '';
}
