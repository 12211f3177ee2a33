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
import type { LogFilter } from '../../src/delivery/log-filter.ts';
import type { NotificationLog as LogRow } from '../../src/delivery/logs.ts';
import type { LogStatus } from '../../src/delivery/status.ts';
import { AppError } from '../../src/errors.ts';
import { mayDo, requirePermission } from '../../src/identity/actor.ts';
import type { Channel } from '../../src/intake/channel.ts';
import { maskAddress } from '../../src/intake/mask.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { AttemptOutcome, NotificationChannel, NotificationStatus } from '../server/enums.ts';
import { LiveSource } from '../subscriptions/source.ts';
import { NotificationTemplate, toTemplate } from '../templates/notification-template.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'One attempt to send a notification through a provider.' })
export class DeliveryAttempt {
  @Field(() => Int, { description: 'Number of the attempt, starting with 1.' })
  number!: number;

  @Field(() => NotificationChannel, { description: 'Channel of the notification.' })
  channel!: Channel;

  @Field(() => String, {
    description:
      'Provider of the channel, for example `smtp`; `sandbox` when the message was captured instead of sent.',
  })
  provider!: string;

  @Field(() => DateTime, { description: 'When the attempt started.' })
  startedAt!: Date;

  @Field(() => Int, {
    nullable: true,
    description: 'Duration of the attempt, in milliseconds; null while it is running.',
  })
  durationMs!: number | null;

  @Field(() => AttemptOutcome, { nullable: true, description: 'Outcome of the attempt; null while it is running.' })
  outcome!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'ID that the provider gave the message; null when it gave none.',
  })
  providerMessageId!: string | null;

  @Field(() => String, { nullable: true, description: 'Stable code of the error; null when there was none.' })
  errorCode!: string | null;

  @Field(() => String, { nullable: true, description: 'Description of the error; null when there was none.' })
  errorMessage!: string | null;
}

@Directive('@key(fields: "id")')
@ObjectType({ description: 'Delivery record of an accepted event.' })
export class NotificationLog {
  @Field(() => ID, { description: 'ID of the delivery record.' })
  id!: string;

  @Field(() => ID, { description: 'ID that the producer gave the event.' })
  eventId!: string;

  @Field(() => String, { description: 'Code of the event, for example `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, {
    nullable: true,
    description: 'Channel that is used; null until the service has chosen one.',
  })
  channel!: Channel | null;

  @Field(() => NotificationStatus, { description: 'Delivery status.' })
  status!: LogStatus;

  @Field(() => Boolean, {
    description: 'Whether this is a test notification. A test is delivered, but not counted in statistics.',
  })
  isTest!: boolean;

  @Field(() => Int, {
    nullable: true,
    description: 'Version of the template that was rendered; null until a template is rendered.',
  })
  templateVersion!: number | null;

  @Field(() => String, {
    nullable: true,
    description: 'Language of the message as a BCP 47 tag, for example `vi-VN`; null until a template is rendered.',
  })
  locale!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Stable code of the reason why the notification was not sent; null when there is none.',
  })
  errorCode!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Reason why the notification was not sent; null when there is none.',
  })
  errorMessage!: string | null;

  @Sized(6)
  @Field(() => [DeliveryAttempt], { description: 'Attempts to send the notification, oldest first.' })
  attempts!: DeliveryAttempt[];

  @Field(() => String, {
    description: 'ID of the trace. Log lines and audit events of this notification have the same ID.',
  })
  traceId!: string;

  @Field(() => DateTime, { description: 'When the service accepted the event.' })
  createdAt!: Date;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When the notification was sent; null when it has not been sent.',
  })
  sentAt!: Date | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: "Template variables of the event; null when the tenant's privacy settings do not keep them.",
  })
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

@InputType({ description: 'Filter for delivery records. A record must match every condition that is given.' })
export class NotificationLogFilter {
  @Field(() => [NotificationStatus], { nullable: true, description: 'Only records with one of these statuses.' })
  statuses?: LogStatus[] | null;

  @Field(() => [NotificationChannel], { nullable: true, description: 'Only records with one of these channels.' })
  channels?: Channel[] | null;

  @Field(() => String, {
    nullable: true,
    description: 'Only records with this event code, for example `user.welcome`.',
  })
  eventCode?: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Only records whose event code starts with this text, for example `user.`.',
  })
  eventCodePrefix?: string | null;

  @Field(() => ID, { nullable: true, description: 'Only records of the event with this producer-assigned ID.' })
  eventId?: string | null;

  @Field(() => String, { nullable: true, description: 'Only records of the trace with this ID.' })
  traceId?: string | null;

  @Field(() => String, {
    nullable: true,
    description:
      'Only records with this address in full: an email address, phone number, device token or URL. It is also found where records store addresses masked, hashed or encrypted.',
  })
  recipient?: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Only records of notifications for this user, alone or among others.',
  })
  userId?: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Only the record with an attempt to which the provider gave this message ID.',
  })
  providerMessageId?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'When true, only tests; when false, no tests; when absent, both.',
  })
  isTest?: boolean | null;

  @Field(() => DateTime, {
    nullable: true,
    description: 'Only records of events that were accepted at or after this time.',
  })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Only records of events that were accepted before this time.' })
  createdBefore?: Date | null;
}

@InputType({ description: 'Test notification for a template and a channel.' })
export class SendTestNotificationInput {
  @Field(() => String, { description: 'Event code of the template, for example `user.welcome`.' })
  eventCode!: string;

  @Field(() => NotificationChannel, { description: 'Channel of the notification.' })
  channel!: Channel;

  @Field(() => String, {
    description: 'Address for the channel: an email address, phone number, device token, URL or user ID.',
  })
  recipient!: string;

  @Field(() => JSONObject, { nullable: true, description: "Values of the template's variables." })
  params?: Record<string, unknown> | null;

  @Field(() => String, { nullable: true, description: 'Language as a BCP 47 tag, for example `vi-VN`.' })
  locale?: string | null;
}

@ArgsType()
class NotificationLogsArgs extends PageArgs {
  @Field(() => NotificationLogFilter, { nullable: true, description: 'Only delivery records that match this filter.' })
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
  @Query(() => NotificationLogConnection, { description: 'Lists the delivery records of the tenant, newest first.' })
  async notificationLogs(@Args(() => NotificationLogsArgs) args: NotificationLogsArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.logs.list(signedIn(context).tenantId, args, args.filter);
    return toConnection(page, idCursor, (row) => row.id, toLog);
  }

  @Requires('notif.read.log')
  @Query(() => NotificationLog, {
    nullable: true,
    description: 'Returns one delivery record; null when the tenant has no record with this id.',
  })
  async notificationLog(
    @Arg('id', () => ID, { description: 'ID of the delivery record.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<NotificationLog | null> {
    const row = await context.loaders.notificationLog.load(id);
    return row && toLog(row);
  }

  @Requires('notif.send.test')
  @Costs(10)
  @Mutation(() => NotificationLog, {
    description:
      'Sends a test notification through the same pipeline as an event. Returns its delivery record, whose `id` identifies it in later queries.',
  })
  async sendTestNotification(
    @Arg('input', () => SendTestNotificationInput, { description: 'Template, channel and recipient of the test.' })
    input: SendTestNotificationInput,
    @Ctx() context: GraphContext,
  ): Promise<NotificationLog> {
    const { eventCode, channel, recipient, params, locale } = input;
    const id = await this.#core.sendTest(
      signedIn(context),
      { eventCode, channel, recipient, params: params ?? {}, locale },
      context.traceId,
    );
    const row = await context.loaders.notificationLog.load(id);
    if (!row) throw new AppError('internal', 'The delivery record was not found after it was written.');
    return toLog(row);
  }

  @Requires('notif.read.log')
  @Subscription(() => NotificationLog, {
    description: 'Delivers each delivery record of the tenant when it changes, in its current state.',
    subscribe: ({ args, context }: { args: { filter?: LogFilter | null }; context: GraphContext }) => {
      const actor = signedIn(context);
      requirePermission(actor, 'notif.read.log');
      return new LiveSource(context.core.logFeeds.changed(actor.tenantId, args.filter), context);
    },
  })
  notificationLogChanged(
    @Root() row: LogRow,
    @Arg('filter', () => NotificationLogFilter, {
      nullable: true,
      description: 'Only delivery records that match this filter.',
    })
    _filter?: NotificationLogFilter | null,
  ): NotificationLog {
    return toLog(row);
  }

  @FieldResolver(() => String, {
    nullable: true,
    description:
      "Address of the recipient, in the form that the tenant's privacy settings keep. It is masked unless the caller has `notif.read.recipient`. It is null when the event was addressed to an audience.",
  })
  recipient(@Root() { address }: NotificationLog, @Ctx() context: GraphContext): string | null {
    if (address === null) return null;
    return mayDo(signedIn(context), 'notif.read.recipient') ? address : maskAddress(address);
  }

  @Requires('notif.read.template')
  @FieldResolver(() => NotificationTemplate, {
    nullable: true,
    description: 'Template that was rendered; null until a template is rendered, or when it no longer exists.',
  })
  async template(@Root() log: NotificationLog, @Ctx() context: GraphContext): Promise<NotificationTemplate | null> {
    if (log.templateId === null) return null;
    const row = await context.loaders.notificationTemplate.load(log.templateId);
    return row && toTemplate(row);
  }
}
