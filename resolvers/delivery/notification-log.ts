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
  Mutation,
  ObjectType,
  Query,
  Resolver,
  Root,
  Subscription,
} from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { LogFilter, NotificationLog as LogRow } from '../../src/delivery/logs.ts';
import type { LogStatus } from '../../src/delivery/status.ts';
import { AppError } from '../../src/errors.ts';
import { mayDo, requirePermission } from '../../src/identity/actor.ts';
import type { Channel } from '../../src/intake/channel.ts';
import { maskAddress } from '../../src/intake/mask.ts';
import { sendTestNotification } from '../../src/intake/send-test.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { AttemptOutcome, NotificationChannel, NotificationStatus } from '../server/enums.ts';
import { LiveSource } from '../subscriptions/source.ts';
import { NotificationTemplate, toTemplate } from '../templates/notification-template.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'A try to hand a notification to a provider.' })
export class DeliveryAttempt {
  @Field(() => Int, { description: '1 for the first.' })
  number!: number;

  @Field(() => NotificationChannel, { description: 'Through which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'Through which provider of the channel, e.g. `smtp`; `sandbox` when captured.' })
  provider!: string;

  @Field(() => DateTime, { description: 'When it began.' })
  startedAt!: Date;

  @Field(() => Int, { nullable: true, description: 'How long it took, in milliseconds; null while it runs.' })
  durationMs!: number | null;

  @Field(() => AttemptOutcome, { nullable: true, description: 'How it ended; null while it runs.' })
  outcome!: string | null;

  @Field(() => String, { nullable: true, description: 'What the provider calls the message.' })
  providerMessageId!: string | null;

  @Field(() => String, { nullable: true, description: 'Stable code of what went wrong.' })
  errorCode!: string | null;

  @Field(() => String, { nullable: true, description: 'What went wrong, in words.' })
  errorMessage!: string | null;
}

@Directive('@key(fields: "id")')
@ObjectType({ description: 'An accepted event and what became of it.' })
export class NotificationLog {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => ID, { description: "The producer's id of the event." })
  eventId!: string;

  @Field(() => String, { description: 'What happened, e.g. `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, { nullable: true, description: 'The channel in use; null until one is chosen.' })
  channel!: Channel | null;

  @Field(() => NotificationStatus, { description: 'Where it stands.' })
  status!: LogStatus;

  @Field(() => Boolean, { description: 'A test: delivered, and left out of statistics.' })
  isTest!: boolean;

  @Field(() => Int, { nullable: true, description: 'The version of the template that was used.' })
  templateVersion!: number | null;

  @Field(() => String, { nullable: true, description: 'The language that was used.' })
  locale!: string | null;

  @Field(() => String, { nullable: true, description: 'Stable code of why it was not sent.' })
  errorCode!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it was not sent, in words.' })
  errorMessage!: string | null;

  @Sized(6)
  @Field(() => [DeliveryAttempt], { description: 'Every try to send it, first to last.' })
  attempts!: DeliveryAttempt[];

  @Field(() => String, { description: 'Found again on every log line and audit event about it.' })
  traceId!: string;

  @Field(() => DateTime, { description: 'When it was accepted.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it was sent; null while it is not.' })
  sentAt!: Date | null;

  @Field(() => JSONObject, { nullable: true, description: 'Variables of the event, only where they are kept.' })
  params!: Record<string, unknown> | null;

  templateId!: string | null;

  address!: string | null;
}

export const toLog = (row: LogRow): NotificationLog => ({
  id: row.id,
  eventId: row.eventId,
  eventCode: row.eventCode,
  channel: row.channel,
  status: row.status,
  isTest: row.isTest,
  address: row.address,
  templateId: row.templateId,
  templateVersion: row.templateVersion,
  locale: row.locale,
  errorCode: row.errorCode,
  errorMessage: row.errorMessage,
  attempts: row.attempts,
  traceId: row.traceId,
  createdAt: row.createdAt,
  sentAt: row.sentAt,
  params: row.params,
});

@InputType({ description: 'Which delivery records to show. Conditions are joined by "and".' })
export class NotificationLogFilter {
  @Field(() => [NotificationStatus], { nullable: true, description: 'In one of these states.' })
  statuses?: LogStatus[] | null;

  @Field(() => [NotificationChannel], { nullable: true, description: 'Through one of these channels.' })
  channels?: Channel[] | null;

  @Field(() => String, { nullable: true, description: 'Of this event code.' })
  eventCode?: string | null;

  @Field(() => ID, { nullable: true, description: 'Of the event with this id.' })
  eventId?: string | null;

  @Field(() => String, { nullable: true, description: 'Of this trace.' })
  traceId?: string | null;

  @Field(() => Boolean, { nullable: true, description: 'Only tests (true) or no tests (false).' })
  isTest?: boolean | null;

  @Field(() => DateTime, { nullable: true, description: 'Accepted at or after this time.' })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Accepted before this time.' })
  createdBefore?: Date | null;
}

@InputType({ description: 'A notification to try a template and a channel with.' })
export class SendTestNotificationInput {
  @Field(() => String, { description: 'Which template, e.g. `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, { description: 'Through which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'Address for that channel: email, phone number, device token, URL or user id.' })
  recipient!: string;

  @Field(() => JSONObject, { nullable: true, description: 'Variables of the template.' })
  params?: Record<string, unknown> | null;

  @Field(() => String, { nullable: true, description: 'Language tag (BCP 47), e.g. `vi-VN`.' })
  locale?: string | null;
}

@ArgsType()
class NotificationLogsArgs extends PageArgs {
  @Field(() => NotificationLogFilter, { nullable: true, description: 'Which ones.' })
  filter?: NotificationLogFilter | null;
}

const NotificationLogConnection = connectionOf('NotificationLog', NotificationLog);

@Resolver(() => NotificationLog)
export class NotificationLogResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.log')
  @Paged()
  @Query(() => NotificationLogConnection, { description: 'Delivery records of the tenant, newest first.' })
  async notificationLogs(@Args(() => NotificationLogsArgs) args: NotificationLogsArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.logs.list(signedIn(context).tenantId, args, args.filter);
    return toConnection(page, idCursor, (row) => row.id, toLog);
  }

  @Requires('notif.read.log')
  @Query(() => NotificationLog, { nullable: true, description: 'One delivery record of the tenant.' })
  async notificationLog(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<NotificationLog | null> {
    const row = await context.loaders.notificationLog.load(id);
    return row && toLog(row);
  }

  @Requires('notif.send.test')
  @Costs(10)
  @Mutation(() => NotificationLog, { description: 'Sends a test the way any event is sent. Follow it by its id.' })
  async sendTestNotification(
    @Arg('input', () => SendTestNotificationInput, { description: 'What to send, and where.' })
    input: SendTestNotificationInput,
    @Ctx() context: GraphContext,
  ): Promise<NotificationLog> {
    const { eventCode, channel, recipient, params, locale } = input;
    const id = await sendTestNotification(
      this.#core.intake,
      signedIn(context),
      { eventCode, channel, recipient, params: params ?? {}, locale },
      context.traceId,
    );
    const row = await context.loaders.notificationLog.load(id);
    if (!row) throw new AppError('internal', 'the delivery record was not found');
    return toLog(row);
  }

  @Requires('notif.read.log')
  @Subscription(() => NotificationLog, {
    description: 'Each delivery record of the tenant when it changes, in its newest state.',
    subscribe: ({ args, context }: { args: { filter?: LogFilter | null }; context: GraphContext }) => {
      const actor = signedIn(context);
      requirePermission(actor, 'notif.read.log');
      return new LiveSource(context.core.logFeeds.changed(actor.tenantId, args.filter), context);
    },
  })
  notificationLogChanged(
    @Root() row: LogRow,
    @Arg('filter', () => NotificationLogFilter, { nullable: true, description: 'Which ones.' })
    _filter?: NotificationLogFilter | null,
  ): NotificationLog {
    return toLog(row);
  }

  @FieldResolver(() => String, {
    nullable: true,
    description:
      'The address, as far as the tenant keeps it; masked without `notif.read.recipient`. Null for an audience.',
  })
  recipient(@Root() { address }: NotificationLog, @Ctx() context: GraphContext): string | null {
    if (address === null) return null;
    return mayDo(signedIn(context), 'notif.read.recipient') ? address : maskAddress(address);
  }

  @Requires('notif.read.template')
  @FieldResolver(() => NotificationTemplate, { nullable: true, description: 'The template that was used.' })
  async template(@Root() log: NotificationLog, @Ctx() context: GraphContext): Promise<NotificationTemplate | null> {
    if (log.templateId === null) return null;
    const row = await context.loaders.notificationTemplate.load(log.templateId);
    return row && toTemplate(row);
  }
}
