import { isEventCode } from './event-code.ts';
import { AppError, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import type { TemplateKey, TemplateLookup } from '../templates/lookup.ts';
import type { Channel } from './channel.ts';
import type { Input, Intake } from './intake.ts';
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
 * Sends a test notification and returns the id of its delivery record.
 * @throws `validation_failed` naming the field, also when no template is published.
 */
export type SendTest = (actor: Actor, input: TestNotification, traceId: string) => Promise<string>;

export interface SendTestOptions {
  intake: Intake;
  templates: Pick<TemplateLookup, 'load'>;
}

/** A test runs through the same pipeline as an event. Unlike an event, it is refused when no template is published. */
export function createSendTest({ intake, templates }: SendTestOptions): SendTest {
  return async (actor, input, traceId) => {
    checkInput(input);
    await requireTemplate(templates, { ...input, tenantId: actor.tenantId }, input.locale);
    const [outcome] = await intake.take([testEvent(actor, input, traceId)]);
    if (outcome?.kind !== 'accepted') throw new AppError('internal', 'the test notification was not accepted');
    return outcome.logId;
  };
}

/** @throws `validation_failed` naming the field. */
function checkInput(input: TestNotification): void {
  const problems = checkRecipient(recipientOf(input.channel, input.recipient), () => 'input.recipient');
  const unstorable = checkStorable(input, 'input');
  if (unstorable) problems.push(unstorable);
  if (!isEventCode(input.eventCode)) {
    problems.push({ path: 'input.eventCode', message: 'must be an event code, e.g. user.welcome' });
  }
  if (problems.length > 0) throw validationFailed(problems);
}

function testEvent(actor: Actor, input: TestNotification, traceId: string): Input {
  const recipient = recipientOf(input.channel, input.recipient);
  return {
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
  };
}

async function requireTemplate(
  templates: SendTestOptions['templates'],
  key: TemplateKey,
  locale: string | null | undefined,
): Promise<void> {
  const published = await templates.load([key]);
  if (published(key).length > 0) return;
  const name = `${key.eventCode} (${[key.channel, locale].filter(Boolean).join(', ')})`;
  throw validationFailed([
    {
      path: 'input.eventCode',
      message: `has no published template: ${name}. Publish the template in some language and activate it.`,
    },
  ]);
}
