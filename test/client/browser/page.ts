import { createClient } from 'graphql-ws/client';

import { connect, createPayloadKeys, openSealedPayload, resume, SealedWebSocket } from '../../../client/index.ts';

// What a front end does, for the test to call. Everything here runs in the browser.

Object.assign(globalThis, {
  /** A stock graphql-ws client over the sealed socket: asks once. */
  ask: async (url: string, token: string, query: string): Promise<unknown> => {
    const client = createClient({ url, webSocketImpl: SealedWebSocket, connectionParams: { token } });
    const answers = client.iterate({ query });
    const { value } = await answers.next();
    await client.dispose();
    return value;
  },
  /** Follows an inbox until so many came. */
  follow: async (url: string, token: string, after: string, count: number): Promise<unknown[]> => {
    const client = connect({ url, token });
    const seen: unknown[] = [];
    const query = 'subscription ($after: String) { notificationCreated(after: $after) { cursor title } }';
    const inbox = resume<{ notificationCreated: { cursor: string; title: string } }>(client, {
      query,
      after,
      cursorOf: (data) => data.notificationCreated.cursor,
    });
    for await (const message of inbox) {
      seen.push(message.data?.notificationCreated.title);
      if (seen.length === count) break;
    }
    await client.dispose();
    return seen;
  },
  createPayloadKeys,
  openSealedPayload,
});
