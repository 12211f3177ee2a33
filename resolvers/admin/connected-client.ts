import { Args, Ctx, Field, ID, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Transport } from '../../src/live/clients.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { ClientTransport } from '../server/enums.ts';
import { Requires } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({ description: 'An open connection of somebody of the tenant.' })
export class ConnectedClient {
  @Field(() => ID, { description: 'Its id: what the acknowledgement of the connection says as `clientId`.' })
  id!: string;

  @Field(() => ID, { description: 'Who is connected.' })
  userId!: string;

  @Field(() => ID, { description: 'The instance of the service that holds the connection.' })
  instanceId!: string;

  @Field(() => ClientTransport, { description: 'How.' })
  transport!: Transport;

  @Field(() => DateTime, { description: 'Since when.' })
  connectedAt!: Date;
}

export const ConnectedClientConnection = connectionOf('ConnectedClient', ConnectedClient);

@Resolver(() => ConnectedClient)
export class ConnectedClientResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.client')
  @Paged()
  @Query(() => ConnectedClientConnection, {
    description:
      'Who of the tenant is connected, on every instance, newest first. Connections of an instance that died are gone from it within half a minute.',
  })
  async connectedClients(@Args(() => PageArgs) args: PageArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.clients.list(signedIn(context).tenantId, args);
    return toConnection(
      page,
      idCursor,
      (row) => row.id,
      (row): ConnectedClient => row,
    );
  }
}
