import type { Channel } from '../../src/intake/channel.ts';
import { checkRecipient, recipientOf } from '../../src/intake/recipient.ts';
import { type EventParser, EventRefused } from './event.ts';
import { eventValidator } from './validate.ts';

interface FeedbackV1 {
  tenant_id: string;
  channel: Channel;
  recipient: string;
  kind: 'hard_bounce' | 'soft_bounce' | 'complaint';
}

/** Parses a bounce or complaint about a message that the provider had accepted. */
export function feedbackV1(type: string): EventParser {
  const validate = eventValidator<FeedbackV1>(type);
  return ({ payload }) => {
    const { tenant_id: tenantId, channel, recipient: address, kind } = validate(payload);
    const problems = checkRecipient(recipientOf(channel, address), () => 'recipient');
    if (problems.length > 0) throw new EventRefused('validation_failed', problems);
    return { kind: 'feedback', feedback: { tenantId, channel, address, kind } };
  };
}
