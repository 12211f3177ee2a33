import { Arg, Ctx, Field, ID, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import { validationFailed } from '../../src/errors.ts';
import { mayDo } from '../../src/identity/actor.ts';
import type { Channel } from '../../src/intake/channel.ts';
import type { TemplateChanges } from '../../src/templates/editing.ts';
import { templateNotFound, versionNotFound } from '../../src/templates/not-found.ts';
import { type Preview, previewTemplate as preview, type PreviewSource } from '../../src/templates/preview.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import type { SmsEncoding as Encoding } from '../../src/templates/sms-size.ts';
import { NotificationChannel, SmsEncoding } from '../server/enums.ts';
import { NotificationTemplate, toTemplate } from './notification-template.ts';
import { Costs, Requires } from '../server/requires.ts';
import { JSONObject } from '../server/scalars.ts';

@InputType({ description: 'Template to create.' })
export class CreateNotificationTemplateInput {
  @Field(() => String, { description: 'Code of the event that uses the template, for example `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, { description: 'Channel that uses the template.' })
  channel!: Channel;

  @Field(() => String, { description: 'Language as a BCP 47 tag, for example `vi-VN`.' })
  locale!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Subject of an email or title of a message. Required for email.',
  })
  subject?: string | null;

  @Field(() => String, { description: 'Body of the message: HTML for email, plain text for other channels.' })
  body!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Plain-text alternative of an HTML body; when absent, the service derives it from the body.',
  })
  text?: string | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Default values of variables, used when an event does not provide them.',
  })
  defaultParams?: Record<string, unknown> | null;
}

@InputType({
  description: 'Changes for a new draft of a template. Absent fields keep the value of the newest version.',
})
export class UpdateNotificationTemplateInput {
  @Field(() => ID, { description: 'ID of the template.' })
  id!: string;

  @Field(() => String, { nullable: true, description: 'Subject of an email or title of a message. Null removes it.' })
  subject?: string | null;

  @Field(() => String, { nullable: true, description: 'Body of the message, as a Handlebars template.' })
  body?: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Plain-text alternative of an HTML body. With null, the service derives it from the body.',
  })
  text?: string | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Default values of variables, used when an event does not provide them.',
  })
  defaultParams?: Record<string, unknown> | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Number of the newest version that the client has read. The mutation fails with `conflict` when there is a newer version.',
  })
  expectedVersion?: number | null;
}

@InputType({ description: 'Content to render: a saved template, or unsaved texts.' })
export class PreviewTemplateInput {
  @Field(() => ID, {
    nullable: true,
    description: 'ID of a saved template; when absent, `channel` and `body` are required.',
  })
  templateId?: string | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Version of the saved template; when absent, the newest version, published or not.',
  })
  version?: number | null;

  @Field(() => NotificationChannel, { nullable: true, description: 'Channel of the unsaved texts.' })
  channel?: Channel | null;

  @Field(() => String, {
    nullable: true,
    description: 'Subject of an email or title of a message; null when there is none.',
  })
  subject?: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Event code of the unsaved texts, for the warnings of its category, for example `user.welcome`.',
  })
  eventCode?: string | null;

  @Field(() => String, { nullable: true, description: 'Body of the message, as a Handlebars template.' })
  body?: string | null;

  @Field(() => String, { nullable: true, description: 'Plain-text alternative of an HTML body.' })
  text?: string | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Default values of variables, used when an event does not provide them.',
  })
  defaultParams?: Record<string, unknown> | null;

  @Field(() => JSONObject, { nullable: true, description: 'Values of variables, as an event would provide them.' })
  params?: Record<string, unknown> | null;

  @Field(() => String, {
    nullable: true,
    description: 'Language for dates and numbers as a BCP 47 tag; when absent, the language of the template.',
  })
  locale?: string | null;

  @Field(() => String, {
    nullable: true,
    description:
      "Time zone of dates as an IANA name, for example `Asia/Ho_Chi_Minh`; when absent, the tenant's time zone.",
  })
  timeZone?: string | null;
}

@ObjectType({ description: 'Size of an SMS, by which providers charge.' })
export class SmsSize {
  @Field(() => SmsEncoding, { description: 'Encoding that the characters of the text need.' })
  encoding!: Encoding;

  @Field(() => Int, {
    description:
      'Length of the text: GSM characters, of which `^{}[]~|€` and the backslash count twice, or UTF-16 units.',
  })
  characters!: number;

  @Field(() => Int, { description: 'Number of messages that are sent and charged; 0 when the text is empty.' })
  segments!: number;
}

@ObjectType({ description: 'Result of rendering a template.' })
export class RenderedTemplate implements Preview {
  @Field(() => String, {
    nullable: true,
    description: 'Subject of an email or title of a message; null when there is none.',
  })
  subject!: string | null;

  @Field(() => String, { nullable: true, description: 'Rendered HTML; null when the channel does not use HTML.' })
  html!: string | null;

  @Field(() => String, { description: 'Rendered plain text.' })
  text!: string;

  @Field(() => String, { description: 'Language of dates and numbers, as a BCP 47 tag.' })
  locale!: string;

  @Field(() => [String], {
    description: 'Paths of required variables without a value. The rendered text shows the path in place of the value.',
  })
  missingVariables!: string[];

  @Field(() => [String], { description: 'Paths of given values that the template does not use.' })
  unusedVariables!: string[];

  @Field(() => String, { nullable: true, description: 'Why rendering failed; null when it succeeded.' })
  problem!: string | null;

  @Field(() => SmsSize, {
    nullable: true,
    description: 'Size of the SMS; null for other channels and when rendering failed.',
  })
  sms!: SmsSize | null;

  @Field(() => [String], {
    description:
      'What the author should correct although the template can be sent, for example a missing link to unsubscribe.',
  })
  warnings!: string[];
}

@Resolver()
export class TemplateEditingResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.template')
  @Costs(10)
  @Query(() => RenderedTemplate, { description: 'Renders a saved template or unsaved texts without sending anything.' })
  async previewTemplate(
    @Arg('input', () => PreviewTemplateInput, { description: 'Content to render.' }) input: PreviewTemplateInput,
    @Ctx() context: GraphContext,
  ): Promise<RenderedTemplate> {
    const actor = signedIn(context);
    const source = await this.#sourceOf(input, context);
    const settings = (await this.#core.settings.load([actor.tenantId])).get(actor.tenantId);
    const timeZone = input.timeZone ?? settings?.timeZone ?? 'UTC';
    return preview(checked(source, timeZone), input.params ?? {}, {
      timeZone,
      eventCode: source.eventCode,
      settings: settings ?? { events: {}, categories: {} },
      parts: await this.#core.templateEditing.sharedParts(actor.tenantId, source.locale),
      // A saved template may contain raw HTML, because its author had the permission. Every reader may preview it.
      mayUseRaw: Boolean(input.templateId) || mayDo(actor, 'notif.write.template.raw'),
    });
  }

  @Requires('notif.write.template')
  @Costs(10)
  @Mutation(() => NotificationTemplate, {
    description: 'Creates a template with a first draft. The template is not sent until a version is published.',
  })
  async createNotificationTemplate(
    @Arg('input', () => CreateNotificationTemplateInput, { description: 'Template to create.' })
    { subject = null, text = null, defaultParams, ...input }: CreateNotificationTemplateInput,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate> {
    const template = { ...input, subject, text, defaultParams: defaultParams ?? {} };
    return this.#read(await this.#core.templateEditing.create(template, by(context)), context);
  }

  @Requires('notif.write.template')
  @Costs(10)
  @Mutation(() => NotificationTemplate, {
    description: 'Creates a new draft of a template. The published version stays in use until the draft is published.',
  })
  async updateNotificationTemplate(
    @Arg('input', () => UpdateNotificationTemplateInput, { description: 'Changes for the new draft.' })
    { id, subject, body, text, defaultParams, expectedVersion }: UpdateNotificationTemplateInput,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate> {
    if (body === null) throw validationFailed([{ path: 'input.body', message: 'must not be null' }]);
    const changes: TemplateChanges = {
      ...(subject !== undefined && { subject }),
      ...(body !== undefined && { body }),
      ...(text !== undefined && { text }),
      ...(defaultParams !== undefined && { defaultParams: defaultParams ?? {} }),
      ...(typeof expectedVersion === 'number' && { expectedVersion }),
    };
    await this.#core.templateEditing.update(id, changes, by(context));
    return this.#read(id, context);
  }

  @Requires('notif.write.template')
  @Costs(10)
  @Mutation(() => NotificationTemplate, {
    description: 'Publishes a version of a template. Publish an older version to roll back to it.',
  })
  async publishNotificationTemplate(
    @Arg('id', () => ID, { description: 'ID of the template.' }) id: string,
    @Arg('version', () => Int, { description: 'Number of the version to publish.' }) version: number,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate> {
    await this.#core.templateEditing.publish(id, version, by(context));
    return this.#read(id, context);
  }

  @Requires('notif.write.template')
  @Costs(10)
  @Mutation(() => NotificationTemplate, { description: 'Activates or deactivates a template.' })
  async setNotificationTemplateActive(
    @Arg('id', () => ID, { description: 'ID of the template.' }) id: string,
    @Arg('active', () => Boolean, { description: 'True to activate the template, false to deactivate it.' })
    active: boolean,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate> {
    await this.#core.templateEditing.setActive(id, active, by(context));
    return this.#read(id, context);
  }

  async #read(id: string, context: GraphContext): Promise<NotificationTemplate> {
    const row = await context.loaders.notificationTemplate.load(id);
    if (!row) throw templateNotFound(id);
    return toTemplate(row);
  }

  async #sourceOf(
    input: PreviewTemplateInput,
    context: GraphContext,
  ): Promise<PreviewSource & { eventCode: string | undefined }> {
    const { templateId, channel, subject = null, body, text = null, defaultParams } = input;
    const eventCode = input.eventCode ?? undefined;
    const locale = input.locale ?? undefined;
    if (!templateId) {
      if (!channel || typeof body !== 'string') {
        throw validationFailed([{ path: 'input', message: 'must contain `templateId`, or `channel` and `body`' }]);
      }
      return { eventCode, channel, subject, body, text, defaultParams: defaultParams ?? {}, locale: locale ?? 'en' };
    }
    const found = await context.loaders.notificationTemplate.load(templateId);
    if (!found) throw templateNotFound(templateId);
    const { template } = found;
    const number = input.version ?? template.revision;
    const wanted = await this.#core.templates.findVersion(signedIn(context).tenantId, templateId, number);
    if (!wanted) throw versionNotFound(template, number);
    return {
      eventCode: template.eventCode,
      channel: template.channel,
      locale: locale ?? template.locale,
      subject: wanted.subject,
      body: wanted.body,
      text: wanted.text,
      defaultParams: wanted.defaultParams,
    };
  }
}

const by = (context: GraphContext) => ({ actor: signedIn(context), traceId: context.traceId });

/** Rejects an invalid language or time zone, because `Intl` would otherwise throw while rendering. */
function checked<Source extends PreviewSource>(source: Source, timeZone: string): Source {
  const problems = [];
  if (!works(() => Intl.getCanonicalLocales(source.locale)))
    problems.push({ path: 'input.locale', message: 'must be a BCP 47 language tag, for example `vi-VN`' });
  if (!works(() => new Intl.DateTimeFormat('en', { timeZone }))) {
    problems.push({ path: 'input.timeZone', message: 'must be an IANA time zone, for example `Asia/Ho_Chi_Minh`' });
  }
  if (problems.length > 0) throw validationFailed(problems);
  return source;
}

function works(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}
