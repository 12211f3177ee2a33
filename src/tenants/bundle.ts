import { parse, type ScalarTag, stringify, type Tags } from 'yaml';

import { EVENT_CODE_PATTERN } from '../intake/event-code.ts';
import { LOCALE_PATTERN } from '../templates/locale.ts';
import { writeAudit } from '../audit/write.ts';
import type { Transaction } from '../database/database.ts';
import { exactNumber, isExactNumber, roundNumbers } from '../exact-json.ts';
import { AppError, type FieldProblem, validationFailed } from '../errors.ts';
import { CHANNELS, type Channel } from '../intake/channel.ts';
import { lintTemplate } from '../templates/lint.ts';
import { publishTemplates, type TemplateText } from '../templates/templates.ts';
import { type ChannelConfigTools, readChannelConfigs, saveChannelConfig } from './channel-configs.ts';
import type { ProviderEntry } from './files.ts';
import { createPolicyAjv, limitsSchema, policySchemas, type TenantPolicies } from './policies.ts';
import { fieldProblem } from './schema-problems.ts';
import { isSealedSecret } from './secrets.ts';
import { saveTenantSettings } from './settings.ts';
import { TenantSettingsEntity } from './tenant-settings.entity.ts';

/** Setup of a tenant in one file. Importing it does not change settings that the file leaves out. */
export interface TenantBundle extends TenantPolicies {
  defaultLocale?: string;
  channels?: Partial<Record<Channel, BundledProvider[]>>;
  templates?: TemplateText[];
}

/** A provider configuration with its state. */
export interface BundledProvider extends ProviderEntry {
  /** Default: true. */
  isEnabled?: boolean;
  /** Failover position. Default: index in the list. */
  position?: number;
}

/** A change that an import made, or would make in a dry run. */
export interface BundleChange {
  kind: 'setting' | 'channel' | 'template';
  name: string;
  change: 'added' | 'changed';
  /** Old and new value in YAML, with secrets masked. `before` is empty for an addition. */
  before: string;
  after: string;
}

export interface BundleOptions extends ChannelConfigTools {
  tenantId: string;
  /** User recorded as the author. */
  userId: string;
  traceId: string;
}

const text = { type: ['string', 'null'], maxLength: 65_536 };

const validate = createPolicyAjv().compile<TenantBundle>({
  type: 'object',
  additionalProperties: false,
  properties: {
    ...policySchemas,
    defaultLocale: { type: 'string', pattern: LOCALE_PATTERN },
    channels: {
      type: 'object',
      propertyNames: { enum: [...CHANNELS] },
      additionalProperties: {
        type: 'array',
        maxItems: 10,
        items: {
          type: 'object',
          required: ['provider', 'config'],
          additionalProperties: false,
          properties: {
            provider: { type: 'string' },
            name: { type: 'string' },
            config: { type: 'object' },
            limits: limitsSchema,
            isEnabled: { type: 'boolean' },
            position: { type: 'integer' },
          },
        },
      },
    },
    templates: {
      type: 'array',
      maxItems: 1_000,
      items: {
        type: 'object',
        required: ['eventCode', 'channel', 'locale', 'body'],
        additionalProperties: false,
        properties: {
          eventCode: { type: 'string', pattern: EVENT_CODE_PATTERN },
          channel: { enum: [...CHANNELS] },
          locale: { type: 'string', pattern: LOCALE_PATTERN },
          subject: text,
          body: { type: 'string', maxLength: 65_536 },
          text,
          defaultParams: { type: 'object' },
        },
      },
    },
  },
});

/** A number of YAML or JSON that keeps all digits. */
const EXACT_NUMBER: ScalarTag = {
  tag: 'tag:yaml.org,2002:float',
  default: true,
  identify: isExactNumber,
  test: /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?$/,
  resolve: (text) => exactNumber(text),
  stringify: ({ value }) => JSON.stringify(value),
};
const withExactNumbers = (tags: Tags): Tags => [EXACT_NUMBER, ...tags];

/**
 * Parses and validates a bundle in YAML or JSON.
 *
 * @throws `validation_failed` with the path of each problem, and line and column within templates.
 */
export async function parseBundle(source: string): Promise<TenantBundle> {
  let file: unknown;
  try {
    file = parse(source, { customTags: withExactNumbers });
  } catch (error) {
    throw validationFailed([{ path: 'file', message: (error as Error).message }]);
  }
  // Only templates have values of events. Settings have numbers of JavaScript.
  const bundle = roundNumbers(file);
  if (!validate(bundle)) {
    throw validationFailed((validate.errors ?? []).map((error) => fieldProblem(error, 'file')));
  }
  const { templates } = file as TenantBundle;
  const seen = new Set<string>();
  const problems: FieldProblem[] = [];
  for (const [index, template] of (templates ?? []).entries()) {
    const place = `templates[${index}]`;
    const key = keyOf(template);
    if (seen.has(key)) problems.push({ path: place, message: `${key} is a duplicate` });
    seen.add(key);
    const { subject = null, body, text: plain = null, channel, defaultParams = {} } = template;
    const lint = await lintTemplate({ channel, subject, body, text: plain, defaultParams }, { mayUseRaw: true });
    problems.push(
      ...lint.problems.map((problem) => ({ ...problem, path: problem.path.replace('input', `${place} (${key})`) })),
    );
  }
  if (problems.length > 0) throw validationFailed(problems);
  return templates ? { ...bundle, templates } : bundle;
}

const keyOf = ({
  eventCode,
  channel,
  locale: language,
}: Pick<TemplateText, 'eventCode' | 'channel' | 'locale'>): string => `${eventCode} ${channel} ${language}`;

/**
 * Applies a bundle to a tenant in one transaction. Idempotent: a second import changes nothing.
 *
 * @returns the changes.
 * @throws `validation_failed`
 */
export async function importBundle(
  tx: Transaction,
  { templates = [], channels = {}, ...settings }: TenantBundle,
  { tenantId, userId, traceId, ...tools }: BundleOptions,
): Promise<BundleChange[]> {
  const actor = { tenantId, userId };
  const changes: BundleChange[] = await importSettings(tx, settings, { tenantId, userId, traceId });
  for (const [channel, providers] of Object.entries(channels) as [Channel, BundledProvider[]][]) {
    for (const [index, entry] of providers.entries()) {
      const { provider, name = '', config, limits = null, position = index, isEnabled = true } = entry;
      const change = { channel, provider, name, config, limits, position, isEnabled };
      const done = await saveChannelConfig(tx, actor, change, { ...tools, traceId }).catch((error: unknown) => {
        throw placed(error, `channels.${channel}[${index}]`);
      });
      const label = [channel, provider, name].filter(Boolean).join(' ');
      if (done.isChanged) changes.push(toChange('channel', label, done.before ?? undefined, done.after));
    }
  }
  const before = new Map((await readTemplates(tx, tenantId)).map((template) => [keyOf(template), template]));
  const fresh = templates.filter((template) => !isSame(before.get(keyOf(template)), template));
  if (fresh.length > 0) await publishTemplates(tx, tenantId, fresh, userId);
  for (const template of fresh) {
    const { eventCode, channel, locale: language } = template;
    changes.push(toChange('template', keyOf(template), textOf(before.get(keyOf(template))), textOf(template)));
    await writeAudit(tx, {
      actor,
      traceId,
      action: 'notification.template.updated',
      details: { event_code: eventCode, channel, locale: language, change: 'imported' },
    });
  }
  return changes;
}

/** Replaces input paths in an error by paths in the file. */
function placed(error: unknown, place: string): unknown {
  if (!(error instanceof AppError) || error.code !== 'validation_failed') return error;
  const { fields } = error.details as { fields: FieldProblem[] };
  return validationFailed(fields.map((field) => ({ ...field, path: field.path.replace('input', place) })));
}

const toChange = (kind: BundleChange['kind'], label: string, before: unknown, after: unknown): BundleChange => ({
  kind,
  name: label,
  change: before === undefined ? 'added' : 'changed',
  before: before === undefined ? '' : inOrder(before),
  after: inOrder(after),
});

/** Sorts keys, because `jsonb` does not keep their order. */
const inOrder = (value: unknown): string => stringify(value, { sortMapEntries: true, customTags: withExactNumbers });

/** The fields of a template that an import may change. */
const textOf = (template: TemplateText | undefined) =>
  template && {
    ...(template.subject && { subject: template.subject }),
    body: template.body,
    ...(template.text && { text: template.text }),
    ...(template.defaultParams && { defaultParams: template.defaultParams }),
  };

async function importSettings(
  tx: Transaction,
  settings: Omit<TenantBundle, 'templates' | 'channels'>,
  { tenantId, ...by }: { tenantId: string; userId: string; traceId: string },
): Promise<BundleChange[]> {
  const before = await readSettings(tx, tenantId);
  const changed = Object.entries(settings).filter(([name, value]) => !isEqual(before[name], value));
  if (changed.length === 0) return [];
  await saveTenantSettings(tx, tenantId, Object.fromEntries(changed), by);
  return changed.map(([name, value]) => toChange('setting', name, before[name], value));
}

/** Exports the tenant's own settings as a YAML bundle. It contains references to secrets, but no values of secrets. */
export async function exportBundle(tx: Transaction, tenantId: string): Promise<string> {
  const rows = await readChannelConfigs(tx, tenantId);
  const channels = Object.fromEntries(
    [...Map.groupBy(rows, ({ channel }) => channel)].map(([channel, providers]) => [
      channel,
      providers.map(({ provider, name, config, limits, position, isEnabled }, index) => ({
        provider,
        ...(name && { name }),
        config: withoutSealed(config),
        ...(limits && { limits }),
        ...(position !== index && { position }),
        ...(!isEnabled && { isEnabled }),
      })),
    ]),
  );
  const templates = await readTemplates(tx, tenantId);
  const bundle = {
    ...(await readSettings(tx, tenantId)),
    ...(rows.length > 0 && { channels }),
    ...(templates.length > 0 && { templates }),
  };
  return stringify(bundle, { customTags: withExactNumbers });
}

async function readSettings(tx: Transaction, tenantId: string): Promise<Record<string, unknown>> {
  const row = await tx.em.findOne(TenantSettingsEntity, { tenantId });
  return { ...(row?.defaultLocale && { defaultLocale: row.defaultLocale }), ...row?.policies };
}

/** One statement for all of a tenant's templates: a bundle may hold thousands. */
const READ_TEMPLATES = `select t.event_code as "eventCode", t.channel, t.locale, v.subject, v.body, v.text, v.default_params::json as "defaultParams"
  from notification_template t
  join notification_template_version v on v.template_id = t.id and v.version = t.published_version
  where t.tenant_id = $1 and t.is_active order by t.event_code, t.channel, t.locale`;

async function readTemplates(tx: Transaction, tenantId: string): Promise<TemplateText[]> {
  const rows = await tx.query<Required<TemplateText>>(READ_TEMPLATES, [tenantId]);
  return rows.map(({ subject, text: plain, defaultParams, ...rest }) => ({
    ...rest,
    ...(subject !== null && { subject }),
    ...(plain !== null && { text: plain }),
    ...(Object.keys(defaultParams).length > 0 && { defaultParams }),
  }));
}

function isSame(before: TemplateText | undefined, after: TemplateText): boolean {
  const whole = ({ subject = null, body, text: plain = null, defaultParams = {} }: TemplateText) => [
    subject,
    body,
    plain,
    defaultParams,
  ];
  return before !== undefined && isEqual(whole(before), whole(after));
}

/** Compares with sorted keys, because `jsonb` does not keep their order. */
const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null || isExactNumber(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([key, item]) => [key, sorted(item)]),
  );
}

function withoutSealed(config: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(config).filter(([, value]) => !isSealedSecret(value));
  return Object.fromEntries(
    entries.map(([key, value]) => [
      key,
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? withoutSealed(value as Record<string, unknown>)
        : value,
    ]),
  );
}
