import { Arg, Ctx, Field, ID, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { DeliveryMode as Mode, EffectiveMode, ModeOwner } from '../../src/delivery/mode.ts';
import type { LogStatus } from '../../src/delivery/status.ts';
import { AppError, validationFailed } from '../../src/errors.ts';
import type { Channel } from '../../src/intake/channel.ts';
import type { Priority, Recipient } from '../../src/intake/command.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import {
  DeliveryMode,
  DeliveryModeOwner,
  NotificationChannel,
  NotificationPriority,
  NotificationStatus,
} from '../server/enums.ts';
import { NotificationLog, toLog } from './notification-log.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@InputType({ description: 'Recipient of an event, in the same form as in the event.' })
export class ExplainRecipientInput {
  @Field(() => ID, { nullable: true, description: 'ID of the user, required for the inbox and for preferences.' })
  userId?: string | null;

  @Field(() => String, { nullable: true, description: 'Email address of the recipient.' })
  email?: string | null;

  @Field(() => String, { nullable: true, description: 'Phone number in E.164 format, for example `+84901234567`.' })
  phone?: string | null;

  @Field(() => String, { nullable: true, description: "Push token of the recipient's device." })
  deviceToken?: string | null;

  @Field(() => String, { nullable: true, description: "HTTPS URL of the recipient's webhook." })
  webhookUrl?: string | null;

  @Field(() => String, { nullable: true, description: 'Language as a BCP 47 tag, for example `vi-VN`.' })
  locale?: string | null;
}

@InputType({ description: 'Event to evaluate without sending it.' })
export class ExplainDeliveryInput {
  @Field(() => String, { description: 'Code of the event, for example `user.welcome`.' })
  eventCode!: string;

  @Field(() => ExplainRecipientInput, { description: 'Recipient of the event.' })
  recipient!: ExplainRecipientInput;

  @Field(() => [NotificationChannel], {
    nullable: true,
    description: "Channels to try, in order; when absent, the tenant's settings decide.",
  })
  channels?: Channel[] | null;

  @Field(() => JSONObject, { nullable: true, description: "Values of the template's variables." })
  params?: Record<string, unknown> | null;

  @Field(() => String, { nullable: true, description: 'Category that users can opt out of, for example `marketing`.' })
  category?: string | null;

  @Field(() => NotificationPriority, {
    nullable: true,
    description: 'Priority of the notification; when absent, normal.',
  })
  priority?: Priority | null;

  @Field(() => DateTime, { nullable: true, description: 'Earliest time of delivery.' })
  sendAt?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Time after which the notification is not sent.' })
  expiresAt?: Date | null;
}

@ObjectType({ description: 'Result of evaluating one channel.' })
export class EvaluatedChannel {
  @Field(() => NotificationChannel, { description: 'Channel that was evaluated.' })
  channel!: Channel;

  @Field(() => String, {
    description: '`chosen` when the channel is used, otherwise the code of the reason why it is not.',
  })
  verdict!: string;

  @Field(() => String, { description: 'Reason why the channel is not used; empty when it is chosen.' })
  message!: string;

  @Field(() => String, {
    nullable: true,
    description:
      'Provider that would send the message, for example `smtp`; null when evaluation ended before a provider was selected.',
  })
  provider?: string | null;

  @Field(() => ID, {
    nullable: true,
    description:
      'ID of the template that would be rendered; null when evaluation ended before a template was selected.',
  })
  templateId?: string | null;

  @Field(() => Int, { nullable: true, description: 'Version of the template; null when no template was selected.' })
  templateVersion?: number | null;

  @Field(() => String, {
    nullable: true,
    description: 'Language of the template as a BCP 47 tag; null when no template was selected.',
  })
  locale?: string | null;
}

@ObjectType({ description: 'Expected delivery of an event, with reasons.' })
export class DeliveryExplanation {
  @Field(() => NotificationStatus, {
    description:
      'Delivery status that the notification would have after its first attempt, if that attempt succeeded; `QUEUED` when it would wait.',
  })
  status!: LogStatus;

  @Field(() => DeliveryMode, { description: 'Delivery mode that currently applies.' })
  mode!: Mode;

  @Field(() => NotificationChannel, {
    nullable: true,
    description: 'First channel that would be used; null when no channel was chosen.',
  })
  channel!: Channel | null;

  @Field(() => String, {
    nullable: true,
    description:
      'First provider that would be used; null for the inbox, and when the message would wait or not be sent.',
  })
  provider!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Stable code of the reason why the event would not be sent; null when it would be.',
  })
  errorCode!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Reason why the event would not be sent; null when it would be.',
  })
  errorMessage!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Reason for a delay: `send_at`, `quiet_hours`, `circuit_open` or `hold`; null when there is no delay.',
  })
  waitReason!: string | null;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When the delay ends; null when there is no delay or its end is not known.',
  })
  waitUntil!: Date | null;

  @Sized(6)
  @Field(() => [EvaluatedChannel], { description: 'Channels that were evaluated, in order.' })
  evaluated!: EvaluatedChannel[];
}

@ObjectType({ description: 'Delivery mode that applies to a tenant, and the modes of which it is the stricter one.' })
export class EffectiveDeliveryMode {
  @Field(() => DeliveryMode, { description: 'Delivery mode that applies: the stricter one of `process` and `tenant`.' })
  mode!: Mode;

  @Field(() => DeliveryMode, { description: 'Delivery mode of the server process that handles this request.' })
  process!: Mode;

  @Field(() => DeliveryMode, { nullable: true, description: 'Delivery mode of the tenant; null when it has none.' })
  tenant!: Mode | null;

  @Field(() => [DeliveryModeOwner], {
    description:
      'Levels whose delivery mode keeps notifications from being sent; empty when the delivery mode that applies is `LIVE`.',
  })
  limitedBy!: ModeOwner[];

  @Field(() => String, {
    nullable: true,
    description: 'Reason why notifications are not sent, and what to change; null when they are sent.',
  })
  reason!: string | null;
}

const REMEDIES: Record<ModeOwner, (mode: Mode) => string> = {
  process: (mode) =>
    `The server process runs in the mode ${mode.toUpperCase()}: its operator changes DELIVERY_MODE, or a superadmin calls setDeliveryMode with process: true.`,
  tenant: (mode) => `The tenant is in the mode ${mode.toUpperCase()}: call setDeliveryMode to change it.`,
};

const toEffectiveMode = (found: EffectiveMode): EffectiveDeliveryMode => ({
  ...found,
  reason: found.limitedBy.map((owner) => REMEDIES[owner](found.mode)).join(' ') || null,
});

@Resolver()
export class DeliveryResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.send.test')
  @Costs(10)
  @Query(() => DeliveryExplanation, { description: 'Explains how an event would be delivered, without sending it.' })
  async explainDelivery(
    @Arg('input', () => ExplainDeliveryInput, { description: 'Event to evaluate.' }) input: ExplainDeliveryInput,
    @Ctx() context: GraphContext,
  ): Promise<DeliveryExplanation> {
    const { evaluated, ...explanation } = await this.#core.delivery.explain(signedIn(context), {
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
      evaluated: evaluated.map(({ template, ...channel }) => ({
        ...channel,
        templateId: template?.templateId ?? null,
        templateVersion: template?.version ?? null,
        locale: template?.locale ?? null,
      })),
    };
  }

  @Requires('notif.write.config')
  @Query(() => EffectiveDeliveryMode, {
    description:
      'Returns the delivery mode that applies to the tenant, and the reason when notifications are not sent.',
  })
  async deliveryMode(@Ctx() context: GraphContext): Promise<EffectiveDeliveryMode> {
    return toEffectiveMode(await this.#core.delivery.mode(signedIn(context).tenantId));
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => DeliveryMode, {
    description:
      'Changes the delivery mode at run time. Returns the delivery mode that applies after the change, which is stricter than the requested one when the server process is. The query `deliveryMode` gives the reason.',
  })
  async setDeliveryMode(
    @Arg('mode', () => DeliveryMode, {
      description: 'New delivery mode. When the modes of the process and the tenant differ, the stricter one applies.',
    })
    mode: Mode,
    @Arg('process', () => Boolean, {
      defaultValue: false,
      description:
        "When true, changes the mode of the server process that handles this request, until it stops, instead of the tenant's mode. Only superadmins may do this.",
    })
    process: boolean,
    @Ctx() context: GraphContext,
  ): Promise<Mode> {
    const actor = signedIn(context);
    if (!process) return this.#core.delivery.setTenantMode(actor, mode, context.traceId);
    if (!actor.isSuperadmin) {
      throw validationFailed([{ path: 'process', message: 'must be false, unless the caller is a superadmin' }]);
    }
    return this.#core.delivery.setProcessMode(mode);
  }

  @Requires('notif.replay')
  @Costs(10)
  @Mutation(() => NotificationLog, {
    description: 'Puts a notification that was not sent back into the queue. Repeated calls do not send it twice.',
  })
  async retryNotification(
    @Arg('logId', () => ID, { description: 'ID of the delivery record to retry.' }) logId: string,
    @Ctx() context: GraphContext,
  ): Promise<NotificationLog> {
    await this.#core.delivery.retry(signedIn(context), logId, context.traceId);
    const row = await context.loaders.notificationLog.load(logId);
    if (!row) throw new AppError('internal', 'The delivery record was not found after it was written.');
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
