import type { ApolloServerPlugin } from '@apollo/server';
import { type DocumentNode, parse } from 'graphql';

import { AppError } from '../../../src/errors.ts';
import type { GraphContext } from '../context.ts';
import { assertOperation, type OperationOptions } from '../operations.ts';
import { roundVariables } from '../variables.ts';
import { assertVariables } from '../query-limits.ts';

/** Replaces a document that exceeds a limit, because its validation could take minutes. */
const PLACEHOLDER: DocumentNode = parse('{ __typename }');

/**
 * Checks the size of documents and variables, and gives Apollo Server the parsed document from our bounded cache.
 * A document that does not parse or validate is left to Apollo Server, which reports every problem.
 */
export const limitsPlugin = ({
  schema,
  checkDocument,
  persisted,
}: Pick<OperationOptions, 'schema' | 'checkDocument' | 'persisted'>): ApolloServerPlugin<GraphContext> => ({
  requestDidStart: async () => {
    let tooLarge: AppError | undefined;
    return {
      didResolveSource: async (context) => {
        const { document, problems } = checkDocument(context.source);
        if (document) Object.assign(context, { document });
        const limit = problems?.find(({ originalError }) => originalError instanceof AppError);
        if (!limit) return;
        tooLarge = limit.originalError as AppError;
        Object.assign(context, { document: PLACEHOLDER });
      },
      didResolveOperation: async (context) => {
        if (tooLarge) throw tooLarge;
        const { document, request, contextValue } = context;
        assertOperation(document, request.operationName);
        Object.assign(context, { document: persisted.trusted(document, request.operationName) });
        const variables = contextValue.variables ?? request.variables ?? {};
        request.variables = roundVariables(schema, document, request.operationName, variables);
        assertVariables(request.variables);
      },
    };
  },
});
