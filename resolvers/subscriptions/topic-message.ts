import { Arg, Field, ObjectType, Resolver, Root, Subscription } from 'type-graphql';

import { validationFailed } from '../../src/errors.ts';
import { type Feed, mapFeed } from '../../src/live/feed.ts';
import type { TopicMessage as MessageRow } from '../../src/live/topic-feeds.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { LiveSource } from './source.ts';
import { toNotification, toNotificationJson } from '../inbox/notification.ts';
import { SignedIn } from '../server/requires.ts';
import { DateTime, JSONValue } from '../server/scalars.ts';

/** Topic of new notifications in the user's inbox. Unlike other topics, it is read from the database. */
export const NOTIFICATION_CREATED_TOPIC = 'observation/signal/notification/created';

/** Maximum length of a topic name, in characters. */
const MAX_TOPIC = 256;

@ObjectType({ description: 'A message that another service published to the subscribers of a topic.' })
export class TopicMessage {
  @Field(() => String, { description: 'Name of the topic, for example `orders/updated`.' })
  topic!: string;

  @Field(() => JSONValue, {
    nullable: true,
    description: 'Message content, as the publishing service sent it; null when it sent null or nothing.',
  })
  data!: unknown;

  @Field(() => DateTime, { description: 'When the message was published.' })
  sentAt!: Date;
}

@Resolver(() => TopicMessage)
export class TopicMessageResolver {
  @SignedIn()
  @Subscription(() => TopicMessage, {
    description: `Delivers the messages that other services publish to the signed-in user on a topic, at most once and without history. The built-in topic \`${NOTIFICATION_CREATED_TOPIC}\` delivers each new notification of the user's inbox.`,
    subscribe: async ({ args, context }: { args: { topic: string }; context: GraphContext }) =>
      new LiveSource(await feedOf(args.topic, context), context),
  })
  topicMessage(
    @Root() message: MessageRow,
    @Arg('topic', () => String, {
      description: 'Name of the topic, as the publishing service writes it; 1 to 256 characters.',
    })
    _topic: string,
  ): TopicMessage {
    return message;
  }
}

async function feedOf(topic: string, context: GraphContext): Promise<Feed<MessageRow>> {
  const { tenantId, userId } = signedIn(context);
  if (topic === '' || topic.length > MAX_TOPIC) {
    throw validationFailed([{ path: 'topic', message: `must have 1 to ${MAX_TOPIC} characters` }]);
  }
  const { core, clientId } = context;
  if (topic !== NOTIFICATION_CREATED_TOPIC) return core.topicFeeds.watch({ tenantId, userId, clientId }, topic);
  const created = await core.inboxFeeds.created({ tenantId, userId });
  return mapFeed(created, topic, (row): MessageRow => ({
    topic,
    data: toNotificationJson(toNotification(row)),
    sentAt: row.createdAt,
  }));
}
