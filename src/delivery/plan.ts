import { createHash } from 'node:crypto';

import type { OutboundMessage } from '../channels/channel.ts';
import { inboxContent } from '../channels/in-app.ts';
import type { Consent } from '../inbox/write.ts';
import type { Channel } from '../intake/channel.ts';
import { type Audience, type Content, PRIORITIES } from '../intake/command.ts';
import { addressFor } from '../intake/recipient.ts';
import { type QuietHours, quietUntil } from '../preferences/quiet-hours.ts';
import type { ReachOf } from '../preferences/recipient-eligibility.ts';
import { pickTemplate } from '../templates/lookup.ts';
import { renderTemplate, TemplateInvalid, TemplateVariableMissing } from '../templates/render.ts';
import type { PublishedTemplate } from '../templates/template.ts';
import type { ProviderSettings, TenantSettings } from '../tenants/settings.ts';
import type { ClaimedLog } from './claim.ts';
import type { DeliveryMode } from './mode.ts';
import { routeOf } from './route.ts';
import type { LogStatus } from './status.ts';

/** The version of a template that a delivery uses. */
export type UsedTemplate = Pick<PublishedTemplate, 'templateId' | 'version' | 'locale'>;

/** The planned step for a row. */
export type Plan = { evaluated: EvaluatedChannel[] } & (
  | {
      kind: 'send';
      route: Channel[];
      step: number;
      channel: Channel;
      provider: ProviderSettings;
      /** Names of all providers of the channel, in failover order. */
      providers: string[];
      message: OutboundMessage;
      template: UsedTemplate;
    }
  | {
      kind: 'inbox';
      route: Channel[];
      step: number;
      audience: Audience;
      content: Content;
      category: string | null;
      consent: Consent;
      template?: UsedTemplate;
    }
  /** The delivery can succeed later, e.g. after quiet hours. */
  | { kind: 'wait'; until: Date; reason: WaitReason; channel: Channel }
  | { kind: 'end'; status: EndStatus; channel?: Channel; errorCode: string; errorMessage: string }
);

export type WaitReason = 'quiet_hours' | 'circuit_open' | 'rate_limited' | 'hold';
type EndStatus = Extract<LogStatus, 'failed' | 'expired' | 'suppressed'>;

/** One evaluated channel and the result. */
export interface EvaluatedChannel {
  channel: Channel;
  /** `chosen`, or the error code of the reason against it. */
  verdict: string;
  message: string;
  provider?: string;
  template?: UsedTemplate;
}

export interface PlanContext {
  settings: TenantSettings;
  /** Delivery mode in force for this tenant. */
  mode: DeliveryMode;
  templatesFor: (channel: Channel) => PublishedTemplate[];
  /** Opt-outs, suppressions and newer notifications that prevent the delivery. */
  reach: ReachOf;
  /** Returns the time until which a provider must not be called; undefined if it may be called now. */
  blockedUntil: (channel: Channel, provider: string) => Date | undefined;
  /** Returns the one-click unsubscribe URL for a category; undefined if the service has no public URL. */
  unsubscribeUrl: (channel: Channel, category: string) => string | undefined;
  now: Date;
}

/** Maximum number of claims without a settlement. A row above it probably crashes the process, so it fails. */
const MAX_CLAIMS = 25;

const SANDBOX: ProviderSettings = { name: 'sandbox', provider: 'sandbox', config: {}, origin: 'environment' };

/** Channels to which quiet hours apply by default. */
const LOUD: readonly Channel[] = ['email', 'sms', 'push', 'zalo'];

/**
 * Decides what happens to a row. Pure: it reads only its arguments, so that `explainDelivery` gets the same plan without
 * sending.
 */
export function planDelivery(log: ClaimedLog, context: PlanContext): Plan {
  const { settings, now } = context;
  if (log.expiresAt && log.expiresAt <= now) {
    return end('expired', 'expired', 'The notification was not sent before its expires_at.');
  }
  if (log.unknownSince !== null && log.attempts - log.unknownSince >= settings.retry.maxUnknown) {
    const { errorCode, errorMessage } = inDoubt(log.unknownSince, log.errorMessage);
    return end('failed', errorCode, errorMessage);
  }
  if (log.claims > MAX_CLAIMS) {
    return end(
      'failed',
      'attempts_exhausted',
      `The delivery was started ${log.claims} times, but no outcome was recorded.`,
    );
  }
  const policy = settings.events[log.eventCode];
  const category = log.category ?? policy?.category ?? null;
  const isMandatory = category === null || settings.categories[category]?.isMandatory === true;
  if (log.content && log.audience) {
    const { audience, content } = log;
    const evaluated = [
      {
        channel: 'in_app' as const,
        verdict: 'chosen',
        message: 'The event contains the text, so no template is used.',
      },
    ];
    const consent = consentFor(category, settings);
    return { kind: 'inbox', route: ['in_app'], step: 0, audience, content, category, consent, evaluated };
  }
  if (context.reach.collapsedBy !== undefined) {
    return end('suppressed', 'collapsed', 'A newer notification with the same collapse_key replaced it.');
  }

  const route =
    log.route ??
    routeOf({
      named: log.channels,
      policy,
      hasAddress: (channel) => addressFor(channel, log.recipient) !== undefined,
      hasTemplate: (channel) => context.templatesFor(channel).length > 0,
    });
  const evaluated: EvaluatedChannel[] = [];
  for (const [step, channel] of route.entries()) {
    if (step < log.step) continue;
    const decision = evaluateChannel(channel, step === log.step ? log : null, { log, category, isMandatory, context });
    if ('code' in decision) {
      evaluated.push({ channel, verdict: decision.code, message: decision.message });
      // A missing or invalid template needs a correction. It is no reason to fall back to another channel.
      if (step === 0 && decision.isFinal) return end('failed', decision.code, decision.message, channel, evaluated);
      continue;
    }
    if ('until' in decision) {
      evaluated.push({
        channel,
        verdict: decision.reason,
        message: `The notification waits until ${decision.until.toISOString()}.`,
      });
      return { kind: 'wait', channel, ...decision, evaluated };
    }
    const { template, provider } = decision;
    evaluated.push({ channel, verdict: 'chosen', message: '', template, ...(provider && { provider }) });
    return { ...decision.plan, route, step, evaluated };
  }
  return noUsableChannel(log, evaluated);
}

interface Subject {
  log: ClaimedLog;
  category: string | null;
  isMandatory: boolean;
  context: PlanContext;
}

type ChannelDecision =
  | { code: string; message: string; isFinal?: boolean }
  | { until: Date; reason: WaitReason }
  | { plan: ChosenPlan; template: UsedTemplate; provider?: string };

type Chosen<P> = P extends { kind: 'send' | 'inbox' } ? Omit<P, 'route' | 'step' | 'evaluated'> : never;
type ChosenPlan = Chosen<Plan>;

/** Evaluates one channel. `position` is the row if this is its current channel, else null. */
function evaluateChannel(
  channel: Channel,
  position: ClaimedLog | null,
  { log, category, isMandatory, context }: Subject,
): ChannelDecision {
  const { settings } = context;
  const address = addressFor(channel, log.recipient);
  if (address === undefined) return { code: 'no_address', message: `The recipient has no address for ${channel}.` };
  const blocked = context.reach.blocked[channel];
  if (blocked) return { code: blocked.errorCode, message: blocked.errorMessage };

  const template = pickTemplate(context.templatesFor(channel), log.recipient.locale, settings.defaultLocale);
  if (!template) {
    const message = `The tenant has no published template for ${log.eventCode} and ${channel}.`;
    return { code: 'template_not_found', message, isFinal: true };
  }
  const providers = providersFor(channel, context);
  if (channel !== 'in_app' && providers.length === 0) {
    return { code: 'channel_not_configured', message: `The tenant has no enabled provider for ${channel}.` };
  }
  const quiet = quietEnd(channel, log, isMandatory, context);
  if (quiet) {
    if (log.expiresAt && log.expiresAt <= quiet) {
      return { code: 'quiet_hours', message: 'The notification expires before the quiet hours end.' };
    }
    return { until: quiet, reason: 'quiet_hours' };
  }
  const unsubscribeUrl = isMandatory ? undefined : context.unsubscribeUrl(channel, category as string);
  let content;
  try {
    content = renderTemplate(template, log.params, {
      timeZone: context.reach.timeZone ?? settings.timeZone,
      now: context.now,
      unsubscribeUrl: channel === 'email' ? unsubscribeUrl : undefined,
    });
  } catch (error) {
    if (error instanceof TemplateVariableMissing) {
      return { code: 'template_variable_missing', message: error.message, isFinal: true };
    }
    if (error instanceof TemplateInvalid) {
      const message = `The template cannot be rendered: ${error.message}`;
      return { code: 'template_invalid', message, isFinal: true };
    }
    throw error;
  }
  if (channel === 'in_app') {
    const inbox = inboxContent(content, log.eventCode, log.triggerBy);
    const audience: Audience = { scope: 'users', userIds: [address] };
    return { plan: { kind: 'inbox', audience, content: inbox, category, consent: 'not_needed', template }, template };
  }

  const left = providers.filter(({ name }) => !position?.excludedProviders.includes(name));
  const provider = pickProvider(channel, left, position?.provider ?? null, context);
  if (!provider)
    return {
      code: 'providers_refused',
      message: `Every provider for ${channel} refused the notification permanently.`,
    };
  if ('until' in provider) {
    const deadline = log.scheduledAt.getTime() + settings.retry.deadlineMs;
    if (provider.until.getTime() > Math.min(deadline, log.expiresAt?.getTime() ?? deadline)) {
      return {
        code: 'circuit_open',
        message: `The circuit breaker of every provider for ${channel} is open beyond the deadline or expiry of the notification.`,
      };
    }
    return { until: provider.until, reason: 'circuit_open' };
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
    priority: PRIORITIES[log.priority] ?? 'normal',
    createdAt: log.createdAt,
    ...(log.expiresAt && { expiresAt: log.expiresAt }),
    ...(log.collapseKey !== null && { collapseKey: log.collapseKey }),
    ...(unsubscribeUrl !== undefined && { unsubscribeUrl }),
  };
  const names = providers.map((entry) => entry.name);
  return {
    plan: { kind: 'send', channel, provider, providers: names, message, template },
    template,
    provider: provider.name,
  };
}

const providersFor = (channel: Channel, { mode, settings }: PlanContext): ProviderSettings[] =>
  mode === 'sandbox' ? [SANDBOX] : (settings.channels[channel] ?? []);

/** Returns the first provider from `turn` on that may be called; if all are blocked, the earliest end of a block. */
function pickProvider(
  channel: Channel,
  left: ProviderSettings[],
  turn: string | null,
  { blockedUntil }: PlanContext,
): ProviderSettings | { until: Date } | undefined {
  const start = Math.max(
    left.findIndex((entry) => entry.name === turn),
    0,
  );
  let earliest: Date | undefined;
  for (const entry of [...left.slice(start), ...left.slice(0, start)]) {
    const until = blockedUntil(channel, entry.name);
    if (!until) return entry;
    if (!earliest || until < earliest) earliest = until;
  }
  return earliest && { until: earliest };
}

function quietEnd(channel: Channel, log: ClaimedLog, isMandatory: boolean, context: PlanContext): Date | undefined {
  const quiet: QuietHours | null = context.settings.quietHours;
  const isUrgent = log.priority === 0 || (isMandatory && log.category !== null);
  if (!quiet || isUrgent || !(quiet.channels ?? LOUD).includes(channel)) return undefined;
  return quietUntil(quiet, context.reach.timeZone ?? quiet.timeZone ?? context.settings.timeZone, context.now);
}

function consentFor(category: string | null, { categories }: TenantSettings): Consent {
  const policy = category === null ? undefined : categories[category];
  if (category === null || policy?.isMandatory || policy?.channels?.includes('in_app') === false) return 'not_needed';
  return policy?.defaultEnabled === false ? 'opt_in' : 'opt_out';
}

/** Returns the final plan when no channel is usable. An error of an earlier attempt takes precedence. */
function noUsableChannel(log: ClaimedLog, evaluated: EvaluatedChannel[]): Plan {
  if (log.errorCode !== null && log.attempts > 0) {
    return end('failed', log.errorCode, log.errorMessage ?? '', undefined, evaluated);
  }
  const suppressed = evaluated.find(({ verdict }) => SUPPRESSING.has(verdict));
  if (suppressed) return end('suppressed', suppressed.verdict, suppressed.message, suppressed.channel, evaluated);
  const tooLate = evaluated.find(({ verdict }) => verdict === 'quiet_hours');
  if (tooLate) return end('expired', 'quiet_hours', tooLate.message, tooLate.channel, evaluated);
  const [first] = evaluated;
  if (first) return end('failed', first.verdict, first.message, first.channel, evaluated);
  return end('failed', 'no_address', 'The recipient has no address for any of the channels.');
}

/** Returns the error of a message that may have been delivered, and is not sent again. */
export const inDoubt = (unknownSince: number, lastError: string | null) => ({
  errorCode: 'delivery_unknown',
  errorMessage:
    `The message may have been delivered: the outcome of attempt ${unknownSince} is unknown. It is not sent again.` +
    (lastError ? ` Last error: ${lastError}` : ''),
});

const SUPPRESSING: ReadonlySet<string> = new Set(['opted_out', 'address_suppressed']);

/** Returns a key that is equal for all attempts of one event through one channel, and unique otherwise. */
function idempotencyKey(log: ClaimedLog, channel: Channel): string {
  const tenant = createHash('sha256').update(log.tenantId).digest('hex').slice(0, 16);
  return `${log.eventId}.${channel}.${tenant}`;
}

function end(
  status: EndStatus,
  errorCode: string,
  errorMessage: string,
  channel?: Channel,
  evaluated: EvaluatedChannel[] = [],
): Plan {
  return { kind: 'end', status, errorCode, errorMessage, evaluated, ...(channel === undefined ? {} : { channel }) };
}
