import { Ajv } from 'ajv';

import { EVENT_CODE_PATTERN } from '../intake/event-code.ts';
import { DEFAULT_RETRY, type RetryPolicy } from '../delivery/retry.ts';
import { CHANNELS, type Channel } from '../intake/channel.ts';
import type { CategoryPolicy } from '../preferences/category.ts';
import type { QuietHours } from '../preferences/quiet-hours.ts';
import { isTimeZone } from '../preferences/time-zone.ts';
import { DEFAULT_PRIVACY, type PrivacyPolicy, privacySchema, type ResolvedPrivacy } from '../privacy/policy.ts';

/** A tenant's policy for one event code. */
export interface EventPolicy {
  /**
   * Channels in fallback order. An event without channels uses the first channel that can reach the recipient. When it
   * fails permanently, the next one is tried. Channels of the event come before these.
   */
  channels?: Channel[];
  /** Category of events without one. */
  category?: string;
}

/** Limits on sending. A missing limit means that only the limits of the process apply. */
export interface Limits {
  /** Maximum number of messages in flight in each process. */
  concurrency?: number;
  /** Maximum number of messages per second, over all processes. */
  ratePerSecond?: number;
  /** Size of the token bucket, in messages. Default: `ratePerSecond`. */
  burst?: number;
}

/** Delivery policies of a tenant, set by its admins or an operator. */
export interface TenantPolicies {
  /** IANA name. Used for quiet hours of users without a time zone. */
  timeZone?: string;
  /** Keys are event codes. */
  events?: Record<string, EventPolicy>;
  /** Keys are names of categories. */
  categories?: Record<string, CategoryPolicy>;
  retry?: Partial<RetryPolicy>;
  limits?: Limits;
  /** Null overrides quiet hours of a weaker source. */
  quietHours?: QuietHours | null;
  privacy?: PrivacyPolicy;
}

/** Policies with defaults. */
export interface ResolvedPolicies {
  timeZone: string;
  events: Record<string, EventPolicy>;
  categories: Record<string, CategoryPolicy>;
  retry: RetryPolicy;
  limits: Limits;
  quietHours: QuietHours | null;
  privacy: ResolvedPrivacy;
}

const positive = { type: 'number', exclusiveMinimum: 0, maximum: 1_000_000 };
const duration = { type: 'integer', minimum: 1, maximum: 30 * 24 * 3_600_000 };
const channels = { type: 'array', items: { enum: [...CHANNELS] }, uniqueItems: true, maxItems: CHANNELS.length };
const clock = { type: 'string', pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$' };
const timeZone = { type: 'string', format: 'time-zone' };
const name = EVENT_CODE_PATTERN;
const object = (properties: Record<string, unknown>, required: string[] = []) => ({
  type: 'object',
  additionalProperties: false,
  required,
  properties,
});

export const limitsSchema = object({
  concurrency: { type: 'integer', minimum: 1, maximum: 10_000 },
  ratePerSecond: positive,
  burst: { type: 'integer', minimum: 1, maximum: 1_000_000 },
});

/** JSON Schema of each policy, for tenant files and for changes by admins. */
export const policySchemas: Record<keyof TenantPolicies, object> = {
  timeZone,
  events: {
    type: 'object',
    propertyNames: { pattern: name },
    additionalProperties: object({
      channels: { ...channels, minItems: 1 },
      category: { type: 'string', pattern: name },
    }),
  },
  categories: {
    type: 'object',
    propertyNames: { pattern: name },
    additionalProperties: object({
      name: { type: 'string', maxLength: 200 },
      description: { type: 'string', maxLength: 2_000 },
      isMandatory: { type: 'boolean' },
      defaultEnabled: { type: 'boolean' },
      channels,
    }),
  },
  retry: object({
    maxAttempts: { type: 'integer', minimum: 1, maximum: 100 },
    baseDelayMs: duration,
    maxDelayMs: duration,
    deadlineMs: duration,
    maxUnknown: { type: 'integer', minimum: 0, maximum: 10 },
  }),
  limits: limitsSchema,
  quietHours: {
    ...object({ from: clock, to: clock, timeZone, channels }, ['from', 'to']),
    type: ['object', 'null'],
  },
  privacy: privacySchema,
};

/** Creates an Ajv instance with the formats and keywords of these schemas. */
export const createPolicyAjv = (): Ajv =>
  new Ajv({ allErrors: true, allowUnionTypes: true, formats: { 'time-zone': isTimeZone } });

/** Policies that are merged key by key from several sources. */
const COMPOSED: ReadonlySet<string> = new Set(['events', 'categories', 'retry', 'limits', 'privacy']);

/** Maps each policy, or key such as `retry.maxAttempts`, to the strongest source that sets it. */
export function sourcesOf<Origin extends string>(
  sources: readonly (readonly [Origin, object | undefined])[],
): Record<string, Origin> {
  const origins: Record<string, Origin> = {};
  for (const [origin, policies] of sources.toReversed()) {
    for (const [name, value] of Object.entries(policies ?? {})) {
      if (value === undefined) continue;
      if (!COMPOSED.has(name) || typeof value !== 'object' || value === null) origins[name] = origin;
      else for (const piece of Object.keys(value as object)) origins[`${name}.${piece}`] = origin;
    }
  }
  return origins;
}

/** Merges sources, strongest first. Event codes, categories and single numbers are merged one by one. */
export function mergePolicies(...sources: (TenantPolicies | undefined)[]): ResolvedPolicies {
  const weakestFirst = sources.filter((source) => source !== undefined).toReversed();
  const merged: ResolvedPolicies = {
    timeZone: 'UTC',
    // Without a prototype, so that a category named `constructor` is found only if the tenant has it.
    events: Object.create(null) as ResolvedPolicies['events'],
    categories: Object.create(null) as ResolvedPolicies['categories'],
    retry: DEFAULT_RETRY,
    limits: {},
    quietHours: null,
    privacy: DEFAULT_PRIVACY,
  };
  for (const source of weakestFirst) {
    merged.timeZone = source.timeZone ?? merged.timeZone;
    Object.assign(merged.events, source.events);
    Object.assign(merged.categories, source.categories);
    merged.retry = { ...merged.retry, ...source.retry };
    merged.limits = { ...merged.limits, ...source.limits };
    merged.privacy = { ...merged.privacy, ...source.privacy };
    if (source.quietHours !== undefined) merged.quietHours = source.quietHours;
  }
  return merged;
}
