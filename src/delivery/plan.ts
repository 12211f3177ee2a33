import { createHash } from 'node:crypto';

import type { OutboundMessage } from '../channels/channel.ts';
import type { Channel } from '../intake/channel.ts';
import type { Audience, Content } from '../intake/command.ts';
import { addressFor } from '../intake/recipient.ts';
import { pickTemplate } from '../templates/lookup.ts';
import { renderTemplate, TemplateInvalid, TemplateVariableMissing } from '../templates/render.ts';
import type { PublishedTemplate } from '../templates/template.ts';
import type { ProviderSettings } from '../tenants/settings.ts';
import type { ClaimedLog } from './claim.ts';
import type { LogStatus } from './status.ts';

/** The version of a template that a delivery uses. */
export type UsedTemplate = Pick<PublishedTemplate, 'templateId' | 'version' | 'locale'>;

/** What to do with a claimed row. */
export type Plan =
  | { kind: 'send'; channel: Channel; provider: ProviderSettings; message: OutboundMessage; template: UsedTemplate }
  | { kind: 'inbox'; audience: Audience; content: Content; template?: UsedTemplate }
  | {
      kind: 'end';
      status: Extract<LogStatus, 'failed' | 'expired'>;
      channel?: Channel;
      errorCode: string;
      errorMessage: string;
    };

export interface PlanContext {
  defaultLocale: string;
  /** The provider in force for a channel; undefined where the tenant has none. */
  providerFor: (channel: Channel) => ProviderSettings | undefined;
  templatesFor: (channel: Channel) => PublishedTemplate[];
  now: Date;
}

/** Channels for a person whose event names none: the first for which there is an address and a template. */
const DEFAULT_ORDER: readonly Channel[] = ['email', 'push', 'sms', 'zalo', 'webhook', 'in_app'];

export const candidateChannels = (log: Pick<ClaimedLog, 'channels'>): readonly Channel[] =>
  log.channels.length > 0 ? log.channels : DEFAULT_ORDER;

/** A row that was claimed this often without an end takes its process down with it, or never gets that far. */
const MAX_CLAIMS = 25;

/** Decides what happens to a row. Pure: everything that it needs is handed in. */
export function planDelivery(log: ClaimedLog, context: PlanContext): Plan {
  if (log.expiresAt && log.expiresAt <= context.now) {
    return {
      kind: 'end',
      status: 'expired',
      errorCode: 'expired',
      errorMessage: 'expires_at passed before it was sent.',
    };
  }
  if (log.attempts > MAX_CLAIMS) {
    return failed('attempts_exhausted', `It was taken up ${log.attempts} times and never came to an end.`);
  }
  if (log.content && log.audience) return { kind: 'inbox', audience: log.audience, content: log.content };

  const channel = chooseChannel(log, context);
  if (channel === undefined) {
    return failed('no_address', 'The recipient has no address for any of the channels.');
  }
  const template = pickTemplate(context.templatesFor(channel), log.recipient.locale, context.defaultLocale);
  if (!template) {
    return failed('template_not_found', `There is no active template for ${log.eventCode} and ${channel}.`, channel);
  }
  try {
    const content = renderTemplate(template, log.params);
    const address = addressFor(channel, log.recipient) as string;
    if (channel === 'in_app') {
      return {
        kind: 'inbox',
        audience: { scope: 'users', userIds: [address] },
        content: { type: log.eventCode, title: content.subject ?? '', body: content.text, ...actor(log) },
        template,
      };
    }
    const provider = context.providerFor(channel);
    if (!provider) {
      return failed('channel_not_configured', `The tenant has no provider for ${channel}.`, channel);
    }
    const message: OutboundMessage = {
      tenantId: log.tenantId,
      logId: log.id,
      eventId: log.eventId,
      eventCode: log.eventCode,
      channel,
      address,
      content,
      idempotencyKey: idempotencyKey(log, channel),
      priority: 'normal',
      createdAt: log.createdAt,
    };
    return { kind: 'send', channel, provider, message, template };
  } catch (error) {
    if (error instanceof TemplateVariableMissing) return failed('template_variable_missing', error.message, channel);
    if (error instanceof TemplateInvalid) {
      return failed('template_invalid', `The template cannot be rendered: ${error.message}`, channel);
    }
    throw error;
  }
}

function chooseChannel(log: ClaimedLog, { templatesFor }: PlanContext): Channel | undefined {
  const reachable = candidateChannels(log).filter((channel) => addressFor(channel, log.recipient) !== undefined);
  if (log.channels.length > 0) return reachable[0];
  return reachable.find((channel) => templatesFor(channel).length > 0) ?? reachable[0];
}

/** The same for every try of one event through one channel, and different for every other. */
function idempotencyKey(log: ClaimedLog, channel: Channel): string {
  const tenant = createHash('sha256').update(log.tenantId).digest('hex').slice(0, 16);
  return `${log.eventId}.${channel}.${tenant}`;
}

const actor = (log: ClaimedLog): { actorId?: string } => (log.triggerBy === null ? {} : { actorId: log.triggerBy });

function failed(errorCode: string, errorMessage: string, channel?: Channel): Plan {
  return { kind: 'end', status: 'failed', errorCode, errorMessage, ...(channel === undefined ? {} : { channel }) };
}
