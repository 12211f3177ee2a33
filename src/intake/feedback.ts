import type { Transaction } from '../database/database.ts';
import { insertSuppressions } from '../preferences/suppressions.ts';
import type { Channel } from './channel.ts';

/** What became known of an address after a message was handed over. */
export interface Feedback {
  tenantId: string;
  channel: Channel;
  address: string;
  kind: 'hard_bounce' | 'soft_bounce' | 'complaint';
}

/** Takes addresses out of use that are no good or whose owners complained. One statement for all. */
export async function recordFeedback(tx: Transaction, feedback: Feedback[]): Promise<void> {
  const entries = feedback.flatMap(({ tenantId, channel, address, kind }) =>
    kind === 'soft_bounce'
      ? []
      : [{ tenantId, channel, address, category: '', reason: kind, sourceLogId: null, createdBy: null }],
  );
  await insertSuppressions(tx, entries);
}
