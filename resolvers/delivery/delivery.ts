import { Arg, Ctx, Field, ID, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { DeliveryMode as Mode } from '../../src/delivery/mode.ts';
import type { LogStatus } from '../../src/delivery/status.ts';
import { AppError, validationFailed } from '../../src/errors.ts';
import type { Channel } from '../../src/intake/channel.ts';
import type { Priority, Recipient } from '../../src/intake/command.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { DeliveryMode, NotificationChannel, NotificationPriority, NotificationStatus } from '../server/enums.ts';
import { NotificationLog, toLog } from './notification-log.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@InputType({ description: 'Addresses of one person, as an event would bring them.' })
export class ExplainRecipientInput {
  @Field(() => ID, { nullable: true, description: 'For the inbox and for preferences.' })
  userId?: string | null;

  @Field(() => String, { nullable: true, description: 'Email address.' })
  email?: string | null;

  @Field(() => String, { nullable: true, description: 'Phone number in E.164 form.' })
  phone?: string | null;

  @Field(() => String, { nullable: true, description: 'Token of a device.' })
  deviceToken?: string | null;

  @Field(() => String, { nullable: true, description: 'An https URL.' })
  webhookUrl?: string | null;

  @Field(() => String, { nullable: true, description: 'Language tag (BCP 47), e.g. `vi-VN`.' })
  locale?: string | null;
}

@InputType({ description: 'An event to think through without sending it.' })
export class ExplainDeliveryInput {
  @Field(() => String, { description: 'Which event, e.g. `user.welcome`.' })
  eventCode!: string;

  @Field(() => ExplainRecipientInput, { description: 'Whom it would be for.' })
  recipient!: ExplainRecipientInput;

  @Field(() => [NotificationChannel], { nullable: true, description: 'Channels in order; absent: the policy decides.' })
  channels?: Channel[] | null;

  @Field(() => JSONObject, { nullable: true, description: 'Variables of the template.' })
  params?: Record<string, unknown> | null;

  @Field(() => String, { nullable: true, description: 'What people may opt out of.' })
  category?: string | null;

  @Field(() => NotificationPriority, { nullable: true, description: 'Default: normal.' })
  priority?: Priority | null;

  @Field(() => DateTime, { nullable: true, description: 'Not before this time.' })
  sendAt?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Not after this time.' })
  expiresAt?: Date | null;
}

@ObjectType({ description: 'One channel that would be looked at, and what would come of it.' })
export class ConsideredChannel {
  @Field(() => NotificationChannel, { description: 'Which channel.' })
  channel!: Channel;

  @Field(() => String, { description: '`chosen`, or the code of why not.' })
  verdict!: string;

  @Field(() => String, { description: 'The same in words; empty where it was chosen.' })
  message!: string;

  @Field(() => String, { nullable: true, description: 'The provider whose turn it would be.' })
  provider?: string | null;

  @Field(() => ID, { nullable: true, description: 'The template that would be used.' })
  templateId?: string | null;

  @Field(() => Int, { nullable: true, description: 'Its version.' })
  templateVersion?: number | null;

  @Field(() => String, { nullable: true, description: 'Its language.' })
  locale?: string | null;
}

@ObjectType({ description: 'What would happen to an event, and why.' })
export class DeliveryExplanation {
  @Field(() => NotificationStatus, { description: 'Where it would stand if its provider took it.' })
  status!: LogStatus;

  @Field(() => DeliveryMode, { description: 'The delivery mode in force.' })
  mode!: Mode;

  @Field(() => NotificationChannel, { nullable: true, description: 'The channel that it would go through first.' })
  channel!: Channel | null;

  @Field(() => String, { nullable: true, description: 'The provider that it would be handed to first.' })
  provider!: string | null;

  @Field(() => String, { nullable: true, description: 'Stable code of why it would not be sent.' })
  errorCode!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it would not be sent, in words.' })
  errorMessage!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Why it would wait: `send_at`, `quiet_hours`, `circuit_open` or `hold`.',
  })
  waitReason!: string | null;

  @Field(() => DateTime, { nullable: true, description: 'Until when it would wait, as far as that is known.' })
  waitUntil!: Date | null;

  @Sized(6)
  @Field(() => [ConsideredChannel], { description: 'The channels that were looked at, in order.' })
  considered!: ConsideredChannel[];
}

@Resolver()
export class DeliveryResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.send.test')
  @Costs(10)
  @Query(() => DeliveryExplanation, { description: 'What would happen to an event and why, without sending it.' })
  async explainDelivery(
    @Arg('input', () => ExplainDeliveryInput, { description: 'The event.' }) input: ExplainDeliveryInput,
    @Ctx() context: GraphContext,
  ): Promise<DeliveryExplanation> {
    const { considered, ...explanation } = await this.#core.delivery.explain(signedIn(context), {
      eventCode: input.eventCode,
      channels: input.channels ?? [],
      recipient: toRecipient(input.recipient),
      params: input.params ?? {},
      category: input.category ?? null,
      priority: input.priority ?? 'normal',
      sendAt: input.sendAt ?? null,
      expiresAt: input.expiresAt ?? null,
    });
    return {
      ...explanation,
      considered: considered.map(({ template, ...channel }) => ({
        ...channel,
        templateId: template?.templateId ?? null,
        templateVersion: template?.version ?? null,
        locale: template?.locale ?? null,
      })),
    };
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => DeliveryMode, { description: 'Switches delivery while it runs. Answers what is in force.' })
  async setDeliveryMode(
    @Arg('mode', () => DeliveryMode, { description: 'The new mode. Of process and tenant the stricter one counts.' })
    mode: Mode,
    @Arg('process', () => Boolean, {
      defaultValue: false,
      description: 'Switches the process that answers, until it ends, instead of the tenant. For superadmins.',
    })
    process: boolean,
    @Ctx() context: GraphContext,
  ): Promise<Mode> {
    const actor = signedIn(context);
    if (!process) return this.#core.delivery.setTenantMode(actor, mode, context.traceId);
    if (!actor.isSuperadmin) {
      throw validationFailed([{ path: 'process', message: 'is for superadmins' }]);
    }
    return this.#core.delivery.setProcessMode(mode);
  }

  @Requires('notif.replay')
  @Costs(10)
  @Mutation(() => NotificationLog, {
    description: 'Puts a notification that was not sent back into the queue. Asking twice sends once.',
  })
  async retryNotification(
    @Arg('logId', () => ID, { description: 'Its delivery record.' }) logId: string,
    @Ctx() context: GraphContext,
  ): Promise<NotificationLog> {
    await this.#core.delivery.retry(signedIn(context), logId, context.traceId);
    const row = await context.loaders.notificationLog.load(logId);
    if (!row) throw new AppError('internal', 'the delivery record was not found');
    return toLog(row);
  }
}

const FIELDS = {
  userId: 'user_id',
  email: 'email',
  phone: 'phone',
  deviceToken: 'device_token',
  webhookUrl: 'webhook_url',
  locale: 'locale',
} as const satisfies Record<keyof ExplainRecipientInput, keyof Recipient>;

const toRecipient = (input: ExplainRecipientInput): Recipient =>
  Object.fromEntries(
    (Object.keys(FIELDS) as (keyof typeof FIELDS)[]).flatMap((field) =>
      input[field] ? [[FIELDS[field], input[field]]] : [],
    ),
  );
