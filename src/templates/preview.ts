import { validationFailed } from '../errors.ts';
import { isExactNumber, parseExact } from '../exact-json.ts';
import type { Channel } from '../intake/channel.ts';
import { checkStorable } from '../intake/storable.ts';
import type { SharedParts } from './email.ts';
import { lintTemplate } from './lint.ts';
import { readTemplate } from './read.ts';
import { compileTemplate, renderTemplate, TemplateInvalid, TemplateVariableMissing } from './render.ts';
import type { TenantSettings } from '../tenants/settings.ts';
import { type SmsSize, smsSize } from './sms-size.ts';
import type { RenderedMessage } from './template.ts';
import { categoryOf, warningsOf } from './warnings.ts';

export interface PreviewSource {
  channel: Channel;
  locale: string;
  subject: string | null;
  body: string;
  text: string | null;
  defaultParams: Record<string, unknown>;
}

/** A rendered template in which placeholders replace missing variables. */
export interface Preview extends RenderedMessage {
  locale: string;
  missingVariables: string[];
  /** Params that the template does not use. */
  unusedVariables: string[];
  /** Why rendering failed; null when it succeeded. */
  problem: string | null;
  /** Size of an SMS; null for other channels and when rendering failed. */
  sms: SmsSize | null;
  /** See `warningsOf`. */
  warnings: string[];
}

export interface PreviewOptions {
  timeZone: string;
  mayUseRaw: boolean;
  parts: SharedParts;
  /** Undefined when the texts are not of a saved template. */
  eventCode: string | undefined;
  settings: Pick<TenantSettings, 'events' | 'categories'>;
}

/** Value of `@unsubscribeUrl` in a preview, which has no delivery to unsubscribe from. */
const SAMPLE_URL = 'https://example.com/unsubscribe';

/**
 * Renders a draft.
 *
 * @throws `validation_failed` with line and column when the draft could not be saved.
 */
export async function previewTemplate(
  source: PreviewSource,
  params: Record<string, unknown>,
  { timeZone, mayUseRaw, parts, eventCode, settings }: PreviewOptions,
): Promise<Preview> {
  const email = { locale: source.locale, parts };
  const { problems, variables, page, usesUnsubscribeUrl } = await lintTemplate(source, { mayUseRaw, email });
  const unstorable = checkStorable(params, 'input.params');
  if (unstorable) problems.push(unstorable);
  if (problems.length > 0) throw validationFailed(problems);
  const data: Values = { ...source.defaultParams, ...params };
  const missingVariables = variables
    .filter(({ path, isOptional }) => !isOptional && isMissing(data, path.split('.')))
    .map(({ path }) => path);
  // Copied, so that the caller's params do not change.
  for (const name of new Set(missingVariables.map(firstOf))) data[name] = copyOf(data[name]);
  for (const path of missingVariables) fill(data, path.split('.'), path);
  const used = new Set(variables.map(({ path }) => firstOf(path)));
  const base = {
    locale: source.locale,
    missingVariables,
    unusedVariables: Object.keys(params)
      .filter((name) => !used.has(name))
      .toSorted(),
  };
  const use = { channel: source.channel, eventCode, usesUnsubscribeUrl };
  try {
    const template = { ...source, body: page ?? source.body, templateId: '', version: 0, tenantId: '', eventCode: '' };
    // Not cached, because a draft is rarely previewed twice.
    const compiled = await compileTemplate(template, readTemplate);
    const unsubscribeUrl = categoryOf(eventCode, settings)?.isMandatory ? undefined : SAMPLE_URL;
    const rendered = renderTemplate(template, data, { timeZone, unsubscribeUrl }, compiled);
    const sms = source.channel === 'sms' ? smsSize(rendered.text) : null;
    return { ...base, ...rendered, problem: null, sms, warnings: warningsOf({ ...use, sms }, settings) };
  } catch (error) {
    if (!(error instanceof TemplateInvalid || error instanceof TemplateVariableMissing)) throw error;
    const warnings = warningsOf(use, settings);
    return { ...base, subject: null, html: null, text: '', problem: error.message, sms: null, warnings };
  }
}

const firstOf = (path: string): string => path.split(/[.[]/)[0] ?? '';

/** Unlike `structuredClone`, this keeps exact numbers. */
const copyOf = (value: unknown): unknown => (value === undefined ? value : parseExact(JSON.stringify(value)));

type Values = Record<string, unknown>;

const isObject = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isExactNumber(value);

/** A variable of list items is missing when at least one item lacks it. */
function isMissing(value: unknown, [name = '', ...rest]: string[]): boolean {
  const isList = name.endsWith('[]');
  const inner =
    typeof value === 'object' && value !== null && !isExactNumber(value)
      ? (value as Values)[isList ? name.slice(0, -2) : name]
      : undefined;
  if (inner === undefined) return true;
  if (rest.length === 0) return false;
  if (!isList) return isMissing(inner, rest);
  return Array.isArray(inner) && inner.some((item) => isMissing(item, rest));
}

/** Sets a missing variable to its own name as a placeholder. */
function fill(value: unknown, [name = '', ...rest]: string[], path: string): void {
  if (!isObject(value)) return;
  const isList = name.endsWith('[]');
  const key = isList ? name.slice(0, -2) : name;
  if (rest.length === 0) value[key] ??= `«${path}»`;
  else if (!isList) fill((value[key] ??= {}), rest, path);
  else for (const item of (value[key] ??= []) as unknown[]) fill(item, rest, path);
}
