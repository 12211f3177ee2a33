import type { ApolloServerPlugin } from '@apollo/server';
import { ApolloServerPluginInlineTrace } from '@apollo/server/plugin/inlineTrace';

import type { GraphContext } from '../context.ts';

/**
 * Adds the timing of each resolver as `extensions.ftv1` when a gateway asks for it by the header
 * `apollo-federation-include-trace: ftv1`. Error messages stay out of the trace.
 */
export const tracingPlugin = (): ApolloServerPlugin<GraphContext> =>
  ApolloServerPluginInlineTrace({ includeErrors: { masked: true } });
