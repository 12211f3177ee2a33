import { createGraphiQLFetcher, type Fetcher } from '@graphiql/toolkit';
import { documentIn, withSavedFragments } from './saved.ts';

// Relative to the page at …/graphiql/, so that a path in front of both does no harm.
const url = new URL('../graphql', location.href);

/**
 * Queries, mutations and introspection go over HTTP, subscriptions over graphql-transport-ws, all with the same token.
 * It travels as a request header; GraphiQL hands those to the socket as connection parameters (`subscriptionUrl` only,
 * a `wsClient` of our own would not get what is in the headers tab).
 */
export function createFetcher(token: string): Fetcher {
  const send = createGraphiQLFetcher({
    url: url.href,
    subscriptionUrl: url.href.replace(/^http/, 'ws'),
    // The service sends whole answers: no @defer, no @stream.
    enableIncrementalDelivery: false,
  });
  return (parameters, options) => {
    // What is sent is read here, and not taken as the editor had read it when the button was pressed: in a tab that was
    // opened a moment ago it still stands for another operation, e.g. for one that is no subscription.
    const query = withSavedFragments(parameters.query);
    const documentAST = documentIn(query);
    return send(
      { ...parameters, query },
      { ...options, headers: withToken(options?.headers, token), ...(documentAST && { documentAST }) },
    );
  };
}

/** The headers tab has the last word, in whatever case the name is written there. */
function withToken(headers: Record<string, string> = {}, token: string): Record<string, string> {
  const given = Object.keys(headers).some((name) => name.toLowerCase() === 'authorization');
  return given || !token ? headers : { ...headers, Authorization: `Bearer ${token}` };
}
