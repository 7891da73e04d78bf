/** The ladder: what stands between encoder and decoder, one change at a time. */
import { type RelativeProjectionOptions, relativeProjection } from "../ops/relativeProjection/index.ts";
import type { Tensor } from "../tensor.ts";

export interface Rung {
  readonly name: string;
  readonly help: string;
  /** How latents are described by anchors; undefined: they are not, decoders read them as they are. */
  readonly projection: RelativeProjectionOptions | undefined;
  /** Trained with the densification loss as well. */
  readonly densified: boolean;
  /** Trained like this other rung; only the way from encoder to decoder differs. */
  readonly trainedAs?: string;
  /** The rung that it differs from by one thing: what it is compared with. */
  readonly base: string | undefined;
}

export interface LadderOptions {
  /** Of the covariance, for whitening. */
  readonly shrinkage: number;
  /** Whether anchors and their statistics are constants to the gradient, as in the papers. */
  readonly detachAnchors: boolean;
}

export const ladder = ({ shrinkage, detachAnchors }: LadderOptions): readonly Rung[] => {
  const constants = { detachAnchors, detachStatistics: detachAnchors };
  return [
    { name: "absolute", help: "latents as they are", projection: undefined, densified: false, base: undefined },
    { name: "cosine", help: "cosines to anchors", projection: constants, densified: false, base: "absolute" },
    {
      name: "centred",
      help: "cosines after the anchors' mean is taken off",
      projection: { normalise: "centre", ...constants },
      densified: false,
      base: "cosine",
    },
    {
      name: "robust",
      help: "cosines in the anchors' standard units",
      projection: { normalise: "standardise", ...constants },
      densified: false,
      base: "centred",
    },
    {
      name: "whitened",
      help: `cosines after whitening by the anchors' covariance, shrunk by ${shrinkage}`,
      projection: { normalise: "whiten", shrinkage, ...constants },
      densified: false,
      base: "robust",
    },
    {
      name: "densified",
      help: "robust, trained with the densification loss before and after the projection",
      projection: { normalise: "standardise", ...constants },
      densified: true,
      base: "robust",
    },
    {
      name: "procrustes",
      help: "absolute latents turned into the other space by the anchors",
      projection: undefined,
      densified: false,
      trainedAs: "absolute",
      base: "robust",
    },
  ];
};

/** What a decoder of the rung reads: [B, K] of latents [B, d] and the same encoder's anchors [K, d], or the latents. */
export const described = ({ projection }: Rung, latents: Tensor, anchors: Tensor): Tensor =>
  projection ? relativeProjection(latents, anchors, projection) : latents;
