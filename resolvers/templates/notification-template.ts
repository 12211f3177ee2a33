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
import { variablesOf } from '../../src/templates/lint.ts';
import type { NotificationTemplate as TemplateRow } from '../../src/templates/templates.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { NotificationChannel } from '../server/enums.ts';
import { Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'A variable that a template uses.' })
export class TemplateVariable {
  @Field(() => String, { description: 'Its path, e.g. `order.total`; within a list, `items[].name`.' })
  path!: string;

  @Field(() => Boolean, { description: 'The template copes without it.' })
  isOptional!: boolean;
}

@ObjectType({ description: 'One text that a template has, or had. It never changes.' })
export class NotificationTemplateVersion {
  @Field(() => Int, { description: 'Its number, from 1.' })
  version!: number;

  @Field(() => String, { nullable: true, description: 'Subject or title.' })
  subject!: string | null;

  @Field(() => String, { description: 'Body.' })
  body!: string;

  @Field(() => String, { nullable: true, description: 'Plain text beside HTML.' })
  text!: string | null;

  @Field(() => JSONObject, { description: 'Values of variables that an event does not bring.' })
  defaultParams!: Record<string, unknown>;

  @Field(() => DateTime, { description: 'When it was made.' })
  createdAt!: Date;

  @Field(() => String, { nullable: true, description: 'Who made it.' })
  createdBy!: string | null;
}

@Directive('@key(fields: "id")')
@ObjectType({ description: "A tenant's text for one event, channel and language." })
export class NotificationTemplate {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => String, { description: 'The event that it is for, e.g. `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, { description: 'The channel that it is for, and no other.' })
  channel!: Channel;

  @Field(() => String, { description: 'Language tag (BCP 47), e.g. `vi-VN`.' })
  locale!: string;

  @Field(() => String, { nullable: true, description: 'Subject or title, a Handlebars template.' })
  subject!: string | null;

  @Field(() => String, { nullable: true, description: 'Body, a Handlebars template; null while nothing is published.' })
  body!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Plain text beside the HTML of `body`; null: worked out from it.',
  })
  text!: string | null;

  /** What is sent in place of the body. Not shown. */
  page!: string | null;

  @Field(() => JSONObject, { nullable: true, description: 'Values of variables that an event does not bring.' })
  defaultParams!: Record<string, unknown> | null;

  @Field(() => Boolean, { description: 'Only active templates are used.' })
  isActive!: boolean;

  @Field(() => Int, { nullable: true, description: 'The published version; null while nothing is published.' })
  version!: number | null;

  @Field(() => Int, { description: 'The newest version; larger than `version` where it is a draft.' })
  latestVersion!: number;

  @Field(() => DateTime, { description: 'When it was last changed.' })
  updatedAt!: Date;

  @Field(() => String, { nullable: true, description: 'Who changed it last.' })
  updatedBy!: string | null;
}

export const toTemplate = (row: TemplateRow): NotificationTemplate => ({
  id: row.id,
  eventCode: row.eventCode,
  channel: row.channel,
  locale: row.locale,
  subject: row.subject,
  body: row.body,
  text: row.text,
  page: row.page,
  defaultParams: row.defaultParams,
  isActive: row.isActive,
  version: row.version,
  latestVersion: row.latestVersion,
  updatedAt: row.updatedAt,
  updatedBy: row.updatedBy,
});

@InputType({ description: 'Which templates to show. Conditions are joined by "and".' })
export class NotificationTemplateFilter {
  @Field(() => String, { nullable: true, description: 'For this event.' })
  eventCode?: string | null;

  @Field(() => [NotificationChannel], { nullable: true, description: 'For one of these channels.' })
  channels?: Channel[] | null;

  @Field(() => String, { nullable: true, description: 'In this language.' })
  locale?: string | null;

  @Field(() => Boolean, { nullable: true, description: 'Only active (true) or inactive (false) ones.' })
  isActive?: boolean | null;
}

@ArgsType()
class NotificationTemplatesArgs extends PageArgs {
  @Field(() => NotificationTemplateFilter, { nullable: true, description: 'Which ones.' })
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
  @Query(() => NotificationTemplateConnection, { description: 'Templates of the tenant, newest first.' })
  async notificationTemplates(
    @Args(() => NotificationTemplatesArgs) args: NotificationTemplatesArgs,
    @Ctx() context: GraphContext,
  ) {
    const page = await this.#core.templates.list(signedIn(context).tenantId, args, args.filter);
    return toConnection(page, idCursor, (row) => row.id, toTemplate);
  }

  @Requires('notif.read.template')
  @Query(() => NotificationTemplate, { nullable: true, description: 'One template of the tenant.' })
  async notificationTemplate(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<NotificationTemplate | null> {
    const row = await context.loaders.notificationTemplate.load(id);
    return row && toTemplate(row);
  }

  @Sized(100)
  @FieldResolver(() => [NotificationTemplateVersion], {
    description: 'Its newest versions, 100 at most, newest first.',
  })
  versions(@Root() { id }: NotificationTemplate, @Ctx() context: GraphContext): Promise<NotificationTemplateVersion[]> {
    return context.loaders.templateVersions.load(id);
  }

  @Sized(20)
  @FieldResolver(() => [TemplateVariable], {
    description: 'What the published version needs of an event, or the newest where none is published.',
  })
  async requiredVariables(
    @Root() { id, version, ...template }: NotificationTemplate,
    @Ctx() context: GraphContext,
  ): Promise<TemplateVariable[]> {
    const { subject, body, page, text } =
      version === null ? ((await context.loaders.templateVersions.load(id))[0] ?? template) : template;
    return variablesOf([subject, page ?? body, text]);
  }
}
