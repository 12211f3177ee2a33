import { Arg, Ctx, Field, ID, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import { AppError, validationFailed } from '../../src/errors.ts';
import { mayDo } from '../../src/identity/actor.ts';
import type { Channel } from '../../src/intake/channel.ts';
import type { TemplateChanges } from '../../src/templates/editing.ts';
import { type Preview, previewTemplate as preview, type PreviewSource } from '../../src/templates/preview.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { NotificationChannel } from '../server/enums.ts';
import { NotificationTemplate, toTemplate } from './notification-template.ts';
import { Costs, Requires } from '../server/requires.ts';
import { JSONObject } from '../server/scalars.ts';

@InputType({ description: 'A template that is to be.' })
export class CreateNotificationTemplateInput {
  @Field(() => String, { description: 'The event that it is for, e.g. `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, { description: 'The channel that it is for.' })
  channel!: Channel;

  @Field(() => String, { description: 'Language tag (BCP 47), e.g. `vi-VN`.' })
  locale!: string;

  @Field(() => String, { nullable: true, description: 'Subject or title; email has to have one.' })
  subject?: string | null;

  @Field(() => String, { description: 'Body: for email HTML, or plain text.' })
  body!: string;

  @Field(() => String, { nullable: true, description: 'Plain text beside HTML; absent: worked out from it.' })
  text?: string | null;

  @Field(() => JSONObject, { nullable: true, description: 'Values of variables that an event does not bring.' })
  defaultParams?: Record<string, unknown> | null;
}

@InputType({ description: 'A new draft of a template. What is absent stays as it was in the version before.' })
export class UpdateNotificationTemplateInput {
  @Field(() => ID, { description: 'Which template.' })
  id!: string;

  @Field(() => String, { nullable: true, description: 'Subject or title; null: none.' })
  subject?: string | null;

  @Field(() => String, { nullable: true, description: 'Body.' })
  body?: string | null;

  @Field(() => String, { nullable: true, description: 'Plain text beside HTML; null: worked out from it.' })
  text?: string | null;

  @Field(() => JSONObject, { nullable: true, description: 'Values of variables that an event does not bring.' })
  defaultParams?: Record<string, unknown> | null;

  @Field(() => Int, {
    nullable: true,
    description: 'The newest version that was seen: `conflict` where there is a newer one by now.',
  })
  expectedVersion?: number | null;
}

@InputType({ description: 'What to render: a template, or texts that are not saved yet.' })
export class PreviewTemplateInput {
  @Field(() => ID, { nullable: true, description: 'A template; absent: the texts below.' })
  templateId?: string | null;

  @Field(() => Int, { nullable: true, description: 'Which version of it; absent: the newest, published or not.' })
  version?: number | null;

  @Field(() => NotificationChannel, { nullable: true, description: 'The channel of the texts.' })
  channel?: Channel | null;

  @Field(() => String, { nullable: true, description: 'Subject or title.' })
  subject?: string | null;

  @Field(() => String, { nullable: true, description: 'Body.' })
  body?: string | null;

  @Field(() => String, { nullable: true, description: 'Plain text beside HTML.' })
  text?: string | null;

  @Field(() => JSONObject, { nullable: true, description: 'Values of variables that an event does not bring.' })
  defaultParams?: Record<string, unknown> | null;

  @Field(() => JSONObject, { nullable: true, description: 'What an event would bring.' })
  params?: Record<string, unknown> | null;

  @Field(() => String, {
    nullable: true,
    description: "By whose rules to write dates and numbers; absent: the template's.",
  })
  locale?: string | null;

  @Field(() => String, { nullable: true, description: "Time zone (IANA) of dates; absent: the tenant's." })
  timeZone?: string | null;
}

@ObjectType({ description: 'What a template would become.' })
export class RenderedTemplate implements Preview {
  @Field(() => String, { nullable: true, description: 'Subject or title.' })
  subject!: string | null;

  @Field(() => String, { nullable: true, description: 'HTML, where the channel shows it.' })
  html!: string | null;

  @Field(() => String, { description: 'Plain text.' })
  text!: string;

  @Field(() => String, { description: 'The language by whose rules dates and numbers are written.' })
  locale!: string;

  @Field(() => [String], { description: 'Needed, and not given: in their place stand their names.' })
  missingVariables!: string[];

  @Field(() => [String], { description: 'Given, and used nowhere.' })
  unusedVariables!: string[];

  @Field(() => String, { nullable: true, description: 'Why there is nothing to see; null where there is.' })
  problem!: string | null;
}

@Resolver()
export class TemplateEditingResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.template')
  @Costs(10)
  @Query(() => RenderedTemplate, { description: 'Renders a template or a draft without sending it.' })
  async previewTemplate(
    @Arg('input', () => PreviewTemplateInput, { description: 'What to render.' }) input: PreviewTemplateInput,
    @Ctx() context: GraphContext,
  ): Promise<RenderedTemplate> {
    const actor = signedIn(context);
    const source = await this.#sourceOf(input, context);
    const settings = (await this.#core.settings.load([actor.tenantId])).get(actor.tenantId);
    const timeZone = input.timeZone ?? settings?.timeZone ?? 'UTC';
    return preview(checked(source, timeZone), input.params ?? {}, {
      timeZone,
      parts: await this.#core.templateEditing.sharedParts(actor.tenantId, source.locale),
      // Whoever may only look at templates looks at those, too, that others may write.
      mayUseRaw: Boolean(input.templateId) || mayDo(actor, 'notif.write.template.raw'),
    });
  }

  @Requires('notif.write.template')
  @Costs(10)
  @Mutation(() => NotificationTemplate, {
    description: 'Makes a template with a first draft. It is not sent before it is published.',
  })
  async createNotificationTemplate(
    @Arg('input', () => CreateNotificationTemplateInput, { description: 'The template.' })
    { subject = null, text = null, defaultParams, ...input }: CreateNotificationTemplateInput,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate> {
    const template = { ...input, subject, text, defaultParams: defaultParams ?? {} };
    return this.#read(await this.#core.templateEditing.create(template, by(context)), context);
  }

  @Requires('notif.write.template')
  @Costs(10)
  @Mutation(() => NotificationTemplate, {
    description: 'Makes a new draft. What is sent stays as it is until it is published.',
  })
  async updateNotificationTemplate(
    @Arg('input', () => UpdateNotificationTemplateInput, { description: 'What changes.' })
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
    description: 'Makes a version the one that is sent; with an older one, goes back to it.',
  })
  async publishNotificationTemplate(
    @Arg('id', () => ID, { description: 'Which template.' }) id: string,
    @Arg('version', () => Int, { description: 'Which version of it.' }) version: number,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate> {
    await this.#core.templateEditing.publish(id, version, by(context));
    return this.#read(id, context);
  }

  @Requires('notif.write.template')
  @Costs(10)
  @Mutation(() => NotificationTemplate, { description: 'Takes a template into use or out of it.' })
  async setNotificationTemplateActive(
    @Arg('id', () => ID, { description: 'Which template.' }) id: string,
    @Arg('active', () => Boolean, { description: 'Whether it is used.' }) active: boolean,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate> {
    await this.#core.templateEditing.setActive(id, active, by(context));
    return this.#read(id, context);
  }

  async #read(id: string, context: GraphContext): Promise<NotificationTemplate> {
    const row = await context.loaders.notificationTemplate.load(id);
    if (!row) throw notFound();
    return toTemplate(row);
  }

  async #sourceOf(input: PreviewTemplateInput, context: GraphContext): Promise<PreviewSource> {
    const { templateId, channel, subject = null, body, text = null, defaultParams } = input;
    const locale = input.locale ?? undefined;
    if (!templateId) {
      if (!channel || typeof body !== 'string') {
        throw validationFailed([{ path: 'input', message: 'must name a template, or a channel and a body' }]);
      }
      return { channel, subject, body, text, defaultParams: defaultParams ?? {}, locale: locale ?? 'en' };
    }
    const template = await context.loaders.notificationTemplate.load(templateId);
    if (!template) throw notFound();
    const versions = await context.loaders.templateVersions.load(templateId);
    const wanted = versions.find(({ version }) => version === (input.version ?? template.latestVersion));
    if (!wanted) throw notFound();
    return { ...wanted, channel: template.channel, locale: locale ?? template.locale };
  }
}

const notFound = (): AppError => new AppError('not_found', 'There is no such template or version.');

const by = (context: GraphContext) => ({ actor: signedIn(context), traceId: context.traceId });

/** What `Intl` would only complain about once it is at work. */
function checked(source: PreviewSource, timeZone: string): PreviewSource {
  const problems = [];
  if (!works(() => Intl.getCanonicalLocales(source.locale)))
    problems.push({ path: 'input.locale', message: 'is no language tag' });
  if (!works(() => new Intl.DateTimeFormat('en', { timeZone }))) {
    problems.push({ path: 'input.timeZone', message: 'is no time zone' });
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
