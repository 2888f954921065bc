//===- TransformerOps.td - All ops of the transformer dialect -*- tablegen -*-//

#ifndef CHORUS_DIALECT_TRANSFORMER_TRANSFORMEROPS_TD
#define CHORUS_DIALECT_TRANSFORMER_TRANSFORMEROPS_TD

include "chorus/Dialect/Transformer/TransformerTypes.td"
include "mlir/IR/EnumAttr.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Transformer_Op<string mnemonic, list<Trait> traits = []>
    : Op<Transformer_Dialect, mnemonic, traits>;

include "chorus/Dialect/Transformer/ParameterOps.td"
include "chorus/Dialect/Transformer/LinearOps.td"
include "chorus/Dialect/Transformer/NormOps.td"
include "chorus/Dialect/Transformer/AttentionOps.td"
include "chorus/Dialect/Transformer/HeadOps.td"
include "chorus/Dialect/Transformer/RequirementOps.td"

#endif // CHORUS_DIALECT_TRANSFORMER_TRANSFORMEROPS_TD
