import {
  Arg,
  Args,
  ArgsType,
  Ctx,
  Directive,
  Field,
  FieldResolver,
  ID,
  InputType,
  Int,
  ObjectType,
  Query,
  Resolver,
  Root,
} from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Channel } from '../../src/intake/channel.ts';
import { idCursor } from '../../src/paging/page.ts';
import { usesUnsubscribeUrl, variablesOf } from '../../src/templates/lint.ts';
import { warningsOf } from '../../src/templates/warnings.ts';
import type { NotificationTemplate as TemplateRow } from '../../src/templates/published.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { NotificationChannel } from '../server/enums.ts';
import { Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'A variable that a template uses.' })
export class TemplateVariable {
  @Field(() => String, {
    description: 'Path of the variable, for example `order.total`, or `items[].name` inside a list.',
  })
  path!: string;

  @Field(() => Boolean, { description: 'Whether the template renders without a value for this variable.' })
  isOptional!: boolean;
}

@ObjectType({ description: "One version of a template's content. A version never changes." })
export class NotificationTemplateVersion {
  @Field(() => Int, { description: 'Number of the version, starting with 1.' })
  version!: number;

  @Field(() => String, {
    nullable: true,
    description: 'Subject of an email or title of a message, as a Handlebars template; null when there is none.',
  })
  subject!: string | null;

  @Field(() => String, { description: 'Body of the message, as a Handlebars template.' })
  body!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Plain-text alternative of an HTML body; null when the service derives it from the body.',
  })
  text!: string | null;

  @Field(() => JSONObject, { description: 'Default values of variables, used when an event does not provide them.' })
  defaultParams!: Record<string, unknown>;

  @Field(() => DateTime, { description: 'When the version was created.' })
  createdAt!: Date;

  @Field(() => String, {
    nullable: true,
    description: 'ID of the user who created the version; null when no user did.',
  })
  createdBy!: string | null;
}

@Directive('@key(fields: "id")')
@ObjectType({ description: 'Message template of the tenant for one event code, channel and language.' })
export class NotificationTemplate {
  @Field(() => ID, { description: 'ID of the template.' })
  id!: string;

  @Field(() => String, { description: 'Code of the event that uses the template, for example `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, { description: 'Channel that uses the template.' })
  channel!: Channel;

  @Field(() => String, { description: 'Language as a BCP 47 tag, for example `vi-VN`.' })
  locale!: string;

  @Field(() => String, {
    nullable: true,
    description:
      'Subject of an email or title of a message in the published version, as a Handlebars template; null when there is none or nothing is published.',
  })
  subject!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Body of the published version, as a Handlebars template; null while nothing is published.',
  })
  body!: string | null;

  @Field(() => String, {
    nullable: true,
    description:
      'Plain-text alternative of an HTML `body`; null when the service derives it from `body` or nothing is published.',
  })
  text!: string | null;

  /** HTML that is sent instead of `body`. The API does not expose it. */
  page!: string | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Default values of variables, used when an event does not provide them.',
  })
  defaultParams!: Record<string, unknown> | null;

  @Field(() => Boolean, { description: 'Whether the template is active. Only active templates are sent.' })
  isActive!: boolean;

  @Field(() => Int, {
    nullable: true,
    description: 'Number of the published version; null while nothing is published.',
  })
  version!: number | null;

  @Field(() => Int, { description: 'Number of the newest version. It is a draft when it is greater than `version`.' })
  latestVersion!: number;

  @Field(() => DateTime, { description: 'When the template was last changed.' })
  updatedAt!: Date;

  @Field(() => String, {
    nullable: true,
    description: 'ID of the user who last changed the template; null when no user did.',
  })
  updatedBy!: string | null;
}

export const toTemplate = ({ template, published }: TemplateRow): NotificationTemplate => ({
  id: template.id,
  eventCode: template.eventCode,
  channel: template.channel,
  locale: template.locale,
  subject: published?.subject ?? null,
  body: published?.body ?? null,
  text: published?.text ?? null,
  page: published?.page ?? null,
  defaultParams: published?.defaultParams ?? null,
  isActive: template.isActive,
  version: template.publishedVersion,
  latestVersion: template.revision,
  updatedAt: template.updatedAt,
  updatedBy: template.updatedBy,
});

@InputType({ description: 'Filter for templates. A template must match every condition that is given.' })
export class NotificationTemplateFilter {
  @Field(() => String, {
    nullable: true,
    description: 'Only templates for this event code, for example `user.welcome`.',
  })
  eventCode?: string | null;

  @Field(() => [NotificationChannel], { nullable: true, description: 'Only templates for one of these channels.' })
  channels?: Channel[] | null;

  @Field(() => String, { nullable: true, description: 'Only templates in this language, as a BCP 47 tag.' })
  locale?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'When true, only active templates; when false, only inactive templates; when absent, both.',
  })
  isActive?: boolean | null;
}

@ArgsType()
class NotificationTemplatesArgs extends PageArgs {
  @Field(() => NotificationTemplateFilter, { nullable: true, description: 'Only templates that match this filter.' })
  filter?: NotificationTemplateFilter | null;
}

const NotificationTemplateConnection = connectionOf('NotificationTemplate', NotificationTemplate);

@Resolver(() => NotificationTemplate)
export class NotificationTemplateResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.template')
  @Paged()
  @Query(() => NotificationTemplateConnection, { description: 'Lists the templates of the tenant, newest first.' })
  async notificationTemplates(
    @Args(() => NotificationTemplatesArgs) args: NotificationTemplatesArgs,
    @Ctx() context: GraphContext,
  ) {
    const page = await this.#core.templates.list(signedIn(context).tenantId, args, args.filter);
    return toConnection(page, idCursor, (row) => row.template.id, toTemplate);
  }

  @Requires('notif.read.template')
  @Query(() => NotificationTemplate, {
    nullable: true,
    description: 'Returns one template; null when the tenant has no template with this id.',
  })
  async notificationTemplate(
    @Arg('id', () => ID, { description: 'ID of the template.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate | null> {
    const row = await context.loaders.notificationTemplate.load(id);
    return row && toTemplate(row);
  }

  @Sized(100)
  @FieldResolver(() => [NotificationTemplateVersion], {
    description: 'The newest versions of the template, newest first; at most 100.',
  })
  versions(@Root() { id }: NotificationTemplate, @Ctx() context: GraphContext): Promise<NotificationTemplateVersion[]> {
    return context.loaders.templateVersions.load(id);
  }

  @Sized(20)
  @FieldResolver(() => [TemplateVariable], {
    description: 'Variables that the published version uses, or the newest version when nothing is published.',
  })
  async requiredVariables(
    @Root() { id, version, ...template }: NotificationTemplate,
    @Ctx() context: GraphContext,
  ): Promise<TemplateVariable[]> {
    const { subject, body, page, text } =
      version === null ? ((await context.loaders.templateVersions.load(id))[0] ?? template) : template;
    return variablesOf([subject, page ?? body, text]);
  }

  @FieldResolver(() => [String], {
    description:
      'What the author should correct in the published version, or in the newest version when nothing is published, although it can be sent. For example a missing link to unsubscribe.',
  })
  async warnings(
    @Root() { id, version, channel, eventCode, ...template }: NotificationTemplate,
    @Ctx() context: GraphContext,
  ): Promise<string[]> {
    const { tenantId } = signedIn(context);
    const { body, page } =
      version === null ? ((await context.loaders.templateVersions.load(id))[0] ?? template) : template;
    const settings = (await this.#core.settings.load([tenantId])).get(tenantId);
    if (!settings || channel !== 'email') return [];
    const isUsed = await usesUnsubscribeUrl(page ?? body ?? '');
    return warningsOf({ channel, eventCode, usesUnsubscribeUrl: isUsed }, settings);
  }
}
