import { isEventCode } from './event-code.ts';
import { AppError, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import type { Channel } from './channel.ts';
import type { Intake } from './intake.ts';
import { checkRecipient, recipientOf } from './recipient.ts';
import { checkStorable } from './storable.ts';

export interface TestNotification {
  eventCode: string;
  channel: Channel;
  recipient: string;
  params: Record<string, unknown>;
  locale?: string | null | undefined;
}

/**
 * Sends a notification like any event, marked as a test.
 * @returns the id of its delivery record.
 * @throws `validation_failed` naming the field.
 */
export async function sendTestNotification(
  intake: Intake,
  actor: Actor,
  input: TestNotification,
  traceId: string,
): Promise<string> {
  const recipient = recipientOf(input.channel, input.recipient);
  const problems = checkRecipient(recipient, () => 'input.recipient');
  const unstorable = checkStorable(input, 'input');
  if (unstorable) problems.push(unstorable);
  if (!isEventCode(input.eventCode)) {
    problems.push({ path: 'input.eventCode', message: 'must be an event code, e.g. user.welcome' });
  }
  if (problems.length > 0) throw validationFailed(problems);

  const [outcome] = await intake.take([
    {
      kind: 'command',
      command: {
        tenantId: actor.tenantId,
        eventId: newId(),
        eventType: 'notification.test.v1',
        eventCode: input.eventCode,
        isTest: true,
        channels: [input.channel],
        recipient: input.locale ? { ...recipient, locale: input.locale } : recipient,
        params: input.params,
        priority: 'high',
        traceId,
        triggerBy: actor.userId,
        createdAt: new Date(),
      },
      asRejection: () => {
        throw new AppError('validation_failed', 'The notification cannot be stored.');
      },
    },
  ]);
  if (outcome?.kind !== 'accepted') throw new AppError('internal', 'the test notification was not accepted');
  return outcome.logId;
}
