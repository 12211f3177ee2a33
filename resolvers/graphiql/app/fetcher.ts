import { createGraphiQLFetcher, type Fetcher } from '@graphiql/toolkit';
import { documentIn, withSavedFragments } from './saved.ts';

// Relative to the page at …/graphiql/, so that a common path prefix works.
const url = new URL('../graphql', location.href);

/**
 * Sends queries, mutations and introspection over HTTP and subscriptions over graphql-transport-ws, all with the same
 * token. The token is a request header, which GraphiQL passes to the socket as a connection parameter. It does so only
 * with `subscriptionUrl`; a custom `wsClient` would not get the headers tab.
 */
export function createFetcher(token: string): Fetcher {
  const send = createGraphiQLFetcher({
    url: url.href,
    subscriptionUrl: url.href.replace(/^http/, 'ws'),
    // The service does not support @defer and @stream.
    enableIncrementalDelivery: false,
  });
  return (parameters, options) => {
    // Parses the text here instead of using the editor's operation, which may be outdated in a tab that was just
    // opened: it could still be the operation of the previous tab.
    const query = withSavedFragments(parameters.query);
    const documentAST = documentIn(query);
    return send(
      { ...parameters, query },
      { ...options, headers: withToken(options?.headers, token), ...(documentAST && { documentAST }) },
    );
  };
}

/** Headers of the headers tab override the token, regardless of the case of their names. */
function withToken(headers: Record<string, string> = {}, token: string): Record<string, string> {
  const given = Object.keys(headers).some((name) => name.toLowerCase() === 'authorization');
  return given || !token ? headers : { ...headers, Authorization: `Bearer ${token}` };
}
