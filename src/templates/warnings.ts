import type { Channel } from '../intake/channel.ts';
import type { TenantSettings } from '../tenants/settings.ts';
import { isShared } from './shared-parts.ts';
import type { SmsSize } from './sms-size.ts';

/** Number of segments of an SMS above which many gateways refuse it. */
const MAX_SEGMENTS = 10;

export interface TemplateUse {
  channel: Channel;
  /** Undefined when it is not known. */
  eventCode: string | undefined;
  usesUnsubscribeUrl: boolean;
  /** Size of a rendered SMS. */
  sms?: SmsSize | null;
}

type Categories = Pick<TenantSettings, 'events' | 'categories'>;

/**
 * Returns the category of an event by the tenant's settings, and whether people can opt out of it; undefined when the event
 * has none there. An event may also name its category itself.
 */
export function categoryOf(
  eventCode: string | undefined,
  { events, categories }: Categories,
): { name: string; isMandatory: boolean } | undefined {
  const name = eventCode === undefined ? undefined : events[eventCode]?.category;
  return name === undefined ? undefined : { name, isMandatory: categories[name]?.isMandatory === true };
}

/** Returns what an author should correct although the template can be sent. */
export function warningsOf(
  { channel, eventCode, usesUnsubscribeUrl, sms }: TemplateUse,
  settings: Categories,
): string[] {
  const warnings: string[] = [];
  const category = categoryOf(eventCode, settings);
  if (channel === 'email' && category && !category.isMandatory && !isShared(eventCode ?? '') && !usesUnsubscribeUrl) {
    warnings.push(
      `People can opt out of the category ${category.name}, but the email has no link to unsubscribe. Add @unsubscribeUrl.`,
    );
  }
  if (sms && sms.segments > MAX_SEGMENTS) {
    warnings.push(`The SMS has ${sms.segments} segments. Many gateways refuse more than ${MAX_SEGMENTS}.`);
  }
  return warnings;
}
