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

/** What to do with a row. */
export type Plan = { considered: Consideration[] } & (
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
  /** Nothing is wrong, it is only too early. */
  | { kind: 'wait'; until: Date; reason: WaitReason; channel: Channel }
  | { kind: 'end'; status: EndStatus; channel?: Channel; errorCode: string; errorMessage: string }
);

export type WaitReason = 'quiet_hours' | 'circuit_open' | 'rate_limited' | 'hold';
type EndStatus = Extract<LogStatus, 'failed' | 'expired' | 'suppressed'>;

/** One channel that was looked at, and what came of it. */
export interface Consideration {
  channel: Channel;
  /** `chosen`, or the code of why not. */
  verdict: string;
  message: string;
  provider?: string;
  template?: UsedTemplate;
}

export interface PlanContext {
  settings: TenantSettings;
  /** In force for this tenant. */
  mode: DeliveryMode;
  templatesFor: (channel: Channel) => PublishedTemplate[];
  /** What keeps the notification from the person. */
  reach: ReachOf;
  /** When a provider whose circuit is open may be tried again; undefined where it may be now. */
  blockedUntil: (channel: Channel, provider: string) => Date | undefined;
  /** Where the person can opt out of the category by one click. */
  unsubscribeUrl: (channel: Channel, category: string) => string | undefined;
  now: Date;
}

/** A row that was claimed this often without being settled takes its process down with it, or never gets that far. */
const MAX_CLAIMS = 25;

const SANDBOX: ProviderSettings = { name: 'sandbox', provider: 'sandbox', config: {}, origin: 'environment' };

/** Channels that wake people. */
const LOUD: readonly Channel[] = ['email', 'sms', 'push', 'zalo'];

/**
 * Decides what happens to a row. Pure: everything that it needs is handed in, so that `explainDelivery` gives the same
 * answer without sending.
 */
export function planDelivery(log: ClaimedLog, context: PlanContext): Plan {
  const { settings, now } = context;
  if (log.expiresAt && log.expiresAt <= now) {
    return end('expired', 'expired', 'expires_at passed before it was sent.');
  }
  if (log.claims > MAX_CLAIMS) {
    return end('failed', 'attempts_exhausted', `It was taken up ${log.claims} times and never came to an end.`);
  }
  const policy = settings.events[log.eventCode];
  const category = log.category ?? policy?.category ?? null;
  const isMandatory = category === null || settings.categories[category]?.isMandatory === true;
  if (log.content && log.audience) {
    const { audience, content } = log;
    const considered = [{ channel: 'in_app' as const, verdict: 'chosen', message: 'The event brings its own text.' }];
    const consent = consentFor(category, settings);
    return { kind: 'inbox', route: ['in_app'], step: 0, audience, content, category, consent, considered };
  }
  if (context.reach.collapsedBy !== undefined) {
    return end('suppressed', 'collapsed', 'A newer notification with the same collapse_key took its place.');
  }

  const route =
    log.route ??
    routeOf({
      named: log.channels,
      policy,
      hasAddress: (channel) => addressFor(channel, log.recipient) !== undefined,
      hasTemplate: (channel) => context.templatesFor(channel).length > 0,
    });
  const considered: Consideration[] = [];
  for (const [step, channel] of route.entries()) {
    if (step < log.step) continue;
    const looked = evaluateChannel(channel, step === log.step ? log : null, { log, category, isMandatory, context });
    if ('code' in looked) {
      considered.push({ channel, verdict: looked.code, message: looked.message });
      // A text that is missing or broken is a mistake to be mended, and no reason to disturb people elsewhere.
      if (step === 0 && looked.isFinal) return end('failed', looked.code, looked.message, channel, considered);
      continue;
    }
    if ('until' in looked) {
      considered.push({ channel, verdict: looked.reason, message: `It waits until ${looked.until.toISOString()}.` });
      return { kind: 'wait', channel, ...looked, considered };
    }
    const { template, provider } = looked;
    considered.push({ channel, verdict: 'chosen', message: '', template, ...(provider && { provider }) });
    return { ...looked.plan, route, step, considered };
  }
  return nothingLeft(log, considered);
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

type Chosen<P> = P extends { kind: 'send' | 'inbox' } ? Omit<P, 'route' | 'step' | 'considered'> : never;
type ChosenPlan = Chosen<Plan>;

/** Looks at one channel. `position`: the row, where it already stands at this channel. */
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
    const message = `There is no active template for ${log.eventCode} and ${channel}.`;
    return { code: 'template_not_found', message, isFinal: true };
  }
  const providers = providersFor(channel, context);
  if (channel !== 'in_app' && providers.length === 0) {
    return { code: 'channel_not_configured', message: `The tenant has no provider for ${channel}.` };
  }
  const quiet = quietEnd(channel, log, isMandatory, context);
  if (quiet) {
    if (log.expiresAt && log.expiresAt <= quiet) {
      return { code: 'quiet_hours', message: 'It expires before the quiet hours end.' };
    }
    return { until: quiet, reason: 'quiet_hours' };
  }
  let content;
  try {
    content = renderTemplate(template, log.params, { timeZone: context.reach.timeZone ?? settings.timeZone });
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
  const provider = providerOf(channel, left, position?.provider ?? null, context);
  if (!provider) return { code: 'providers_refused', message: `Every provider for ${channel} refused for good.` };
  if ('until' in provider) {
    const deadline = log.scheduledAt.getTime() + settings.retry.deadlineMs;
    if (provider.until.getTime() > Math.min(deadline, log.expiresAt?.getTime() ?? deadline)) {
      return { code: 'circuit_open', message: `No provider for ${channel} answers, and there is no time to wait.` };
    }
    return { until: provider.until, reason: 'circuit_open' };
  }
  const unsubscribeUrl = isMandatory ? undefined : context.unsubscribeUrl(channel, category as string);
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

/** The provider whose turn it is, or the next one whose circuit is not open; or when the first of them may be tried. */
function providerOf(
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

/** Every channel was looked at and none is left: the first real failure says more than what came after it. */
function nothingLeft(log: ClaimedLog, considered: Consideration[]): Plan {
  if (log.errorCode !== null && log.attempts > 0) {
    return end('failed', log.errorCode, log.errorMessage ?? '', undefined, considered);
  }
  const hindered = considered.find(({ verdict }) => SUPPRESSING.has(verdict));
  if (hindered) return end('suppressed', hindered.verdict, hindered.message, hindered.channel, considered);
  const tooLate = considered.find(({ verdict }) => verdict === 'quiet_hours');
  if (tooLate) return end('expired', 'quiet_hours', tooLate.message, tooLate.channel, considered);
  const [first] = considered;
  if (first) return end('failed', first.verdict, first.message, first.channel, considered);
  return end('failed', 'no_address', 'The recipient has no address for any of the channels.');
}

const SUPPRESSING: ReadonlySet<string> = new Set(['opted_out', 'address_suppressed']);

/** The same for every try of one event through one channel, and different for every other. */
function idempotencyKey(log: ClaimedLog, channel: Channel): string {
  const tenant = createHash('sha256').update(log.tenantId).digest('hex').slice(0, 16);
  return `${log.eventId}.${channel}.${tenant}`;
}

function end(
  status: EndStatus,
  errorCode: string,
  errorMessage: string,
  channel?: Channel,
  considered: Consideration[] = [],
): Plan {
  return { kind: 'end', status, errorCode, errorMessage, considered, ...(channel === undefined ? {} : { channel }) };
}
