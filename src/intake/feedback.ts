import type { Transaction } from '../database/database.ts';
import { insertSuppressions } from '../preferences/suppressions.ts';
import type { Channel } from './channel.ts';

/** Feedback about an address after a message was sent: a bounce or a complaint. */
export interface Feedback {
  tenantId: string;
  channel: Channel;
  address: string;
  kind: 'hard_bounce' | 'soft_bounce' | 'complaint';
}

/** Suppresses addresses that bounced or complained. One statement for all of them. */
export async function recordFeedback(tx: Transaction, feedback: Feedback[]): Promise<void> {
  const entries = feedback.flatMap(({ tenantId, channel, address, kind }) =>
    kind === 'soft_bounce'
      ? []
      : [{ tenantId, channel, address, category: '', reason: kind, sourceLogId: null, createdBy: null }],
  );
  await insertSuppressions(tx, entries);
}
