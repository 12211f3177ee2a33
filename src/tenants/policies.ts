import { Ajv } from 'ajv';

import { EVENT_CODE_PATTERN } from '../intake/event-code.ts';
import { DEFAULT_RETRY, type RetryPolicy } from '../delivery/retry.ts';
import { CHANNELS, type Channel } from '../intake/channel.ts';
import type { CategoryPolicy } from '../preferences/category.ts';
import { isTimeZone } from '../preferences/preferences.ts';
import type { QuietHours } from '../preferences/quiet-hours.ts';
import { DEFAULT_PRIVACY, type PrivacyPolicy, privacySchema, type ResolvedPrivacy } from '../privacy/policy.ts';

/** What one event code is to a tenant. */
export interface EventPolicy {
  /**
   * Channels in order. An event that names none is sent through the first that reaches the person; where one fails for
   * good, the next is tried. An event that names its own goes through those first.
   */
  channels?: Channel[];
  /** The category of events that name none. */
  category?: string;
}

/** Bounds on sending. What is not given is not bounded, beyond the bounds of the process. */
export interface Limits {
  /** Messages in hand at once, in each process. */
  concurrency?: number;
  /** Messages a second, over all processes. */
  ratePerSecond?: number;
  /** Messages that may go at once after a quiet time; default: one second's worth. */
  burst?: number;
}

/** What a tenant, or an operator for it, may decide about delivery. Everything is optional. */
export interface TenantPolicies {
  /** IANA name; of quiet hours, where the person's own is not known. */
  timeZone?: string;
  /** By event code. */
  events?: Record<string, EventPolicy>;
  /** By the name that events use. */
  categories?: Record<string, CategoryPolicy>;
  retry?: Partial<RetryPolicy>;
  limits?: Limits;
  /** Null: none, although a weaker source has some. */
  quietHours?: QuietHours | null;
  privacy?: PrivacyPolicy;
}

/** Policies with every default put in. */
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

/** JSON Schema of each policy, for a tenant's file and for what an admin saves. */
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
  }),
  limits: limitsSchema,
  quietHours: {
    ...object({ from: clock, to: clock, timeZone, channels }, ['from', 'to']),
    type: ['object', 'null'],
  },
  privacy: privacySchema,
};

/** An Ajv that knows what these schemas use. */
export const createPolicyAjv = (): Ajv =>
  new Ajv({ allErrors: true, allowUnionTypes: true, formats: { 'time-zone': isTimeZone } });

/** Policies that are put together piece by piece, where the pieces may come from different sources. */
const COMPOSED: ReadonlySet<string> = new Set(['events', 'categories', 'retry', 'limits', 'privacy']);

/** Who decided what: the name of a policy, or `retry.maxAttempts`, to the name of the strongest source that says it. */
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

/** Puts sources together, strongest first: event codes and categories one by one, numbers one by one. */
export function mergePolicies(...sources: (TenantPolicies | undefined)[]): ResolvedPolicies {
  const weakestFirst = sources.filter((source) => source !== undefined).toReversed();
  const merged: ResolvedPolicies = {
    timeZone: 'UTC',
    events: {},
    categories: {},
    retry: DEFAULT_RETRY,
    limits: {},
    quietHours: null,
    privacy: DEFAULT_PRIVACY,
  };
  for (const source of weakestFirst) {
    merged.timeZone = source.timeZone ?? merged.timeZone;
    merged.events = { ...merged.events, ...source.events };
    merged.categories = { ...merged.categories, ...source.categories };
    merged.retry = { ...merged.retry, ...source.retry };
    merged.limits = { ...merged.limits, ...source.limits };
    merged.privacy = { ...merged.privacy, ...source.privacy };
    if (source.quietHours !== undefined) merged.quietHours = source.quietHours;
  }
  return merged;
}
