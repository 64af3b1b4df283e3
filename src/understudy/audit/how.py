"""How each figure was measured, in a sentence: what the report prints under it."""

from __future__ import annotations

from collections.abc import Mapping

HOW: Mapping[str, str] = {
    "rank1_rate": "Each face after is searched for among the faces before; the share whose nearest person is the right "
    "one. A face that the attacker could not find counts as not identified; with @place after its name, somebody "
    "points out where the face was. Beside it: the same with shuffled names.",
    "rank5_rate": "As rank1_rate, among the nearest 5 people; beside it: 5 over the people in the gallery.",
    "rank10_rate": "As rank1_rate, among the nearest 10 people; beside it: 10 over the people in the gallery.",
    "rank50_rate": "As rank1_rate, among the nearest 50 people; beside it: 50 over the people in the gallery.",
    "raw_rank1_rate": "The same search with other originals of the same people, where enough people have two pictures, "
    "or else with an altered copy of each face (turned, smaller, compressed, relit): how good the attacker is.",
    "rank1_rate_gap": "Largest gap of rank1_rate between groups; beside it: the mean gap with shuffled labels.",
    "gallery_size": "People in the gallery that are searched.",
    "tar_at_far_1e-2": "Share of true pairs (a face after and its original) more alike than all but 1 in 100 pairs of "
    "different people before. Beside it: the same of the raw control.",
    "tar_at_far_1e-3": "Share of true pairs (a face after and its original) more alike than all but 1 in 1,000 pairs "
    "of different people before. Beside it: the same of the raw control.",
    "eer": "Error rate where as many true pairs are refused as false ones accepted; 0.5 is chance.",
    "face_not_found_share": "Faces before in whose place the audit's detector found no face after.",
    "resembling_share": "Faces after that are nearer to another real person than the nearest 1 in 100 people before "
    "are to theirs; 1 % is expected of strangers.",
    "effective_people": "Exponential entropy of the embeddings' spectrum (Vendi score); beside it: of the originals.",
    "frechet_distance": "Squared Frechet distance between the same faces before and after in dlib's 128 dimensions; "
    "beside it: of the null edit. The interval is from halves of the people.",
    "residual_share": "Faces whose middle differs from the original by no more than a re-encoding does, or that pass "
    "for the original in the place where the second detector finds a face.",
    "anonymiser_miss_share": "Faces that the audit's detector finds before and that the anonymiser's manifest does not "
    "name; without a manifest, faces whose pixels are unchanged.",
    "face_lost_share": "Faces before in whose place the audit's detector finds none after.",
    "average_precision": "Boxes before are the truth for the boxes that the same detector finds after (IoU 0.5).",
    "total_variation": "Half the sum of the differences between two distributions; beside it: its mean when each "
    "person's two readings are swapped at random. p: Stuart-Maxwell over people.",
    "js_distance": "Square root of the Jensen-Shannon divergence, base 2; beside it: its mean under swapped readings.",
    "asymmetric_change": "Share of faces in excess on one side of the transition table's diagonal. p: Bowker.",
    "entropy_drift": "Entropy after minus before, in bits: under 0 collapse to a stereotype, over 0 noise.",
    "changed_share": "Faces that read otherwise after than before; beside it: in the null edit.",
    "net_changed_share": "Faces that changed after minus those that changed in the null edit, paired.",
    "share_drift": "Share of a category after minus its share in the reference.",
    "mean_drift": "Mean of after minus reference, paired by face. p: paired t test on one mean a person.",
    "standardised_drift": "Mean difference over the standard deviation of the differences between people.",
    "calibration_slope": "How much a reading of the originals moves where the label moves by 1, by least squares over "
    "people; 1 reads as labelled, under 1 shrinks.",
    "calibrated_drift": "mean_drift over calibration_slope: the drift in the labels' units. Not given where the "
    "slope's interval holds 0. The slope is one between people; a change within a face may read otherwise.",
    "mean_abs_change": "Mean absolute difference between after and before; beside it: of the null edit.",
    "variance_ratio": "Variance after over variance of the reference: under 1, faces become alike.",
    "invalid_share": "Faces of which the attribute could not be read after; beside it: in the reference.",
    "beautification_drift": "Change of a measurable part, in spreads of that part between the people before, net of "
    "the null edit; over 0 is the direction of a retouch.",
    "context_changed_share": "Share of the pixels outside the masks that changed in any channel.",
    "context_identical_share": "Pictures of which not one pixel outside the masks changed.",
    "context_mean_abs": "Mean absolute difference outside the masks.",
    "context_max_abs": "Mean over pictures of the largest difference outside the masks.",
    "context_psnr": "Peak signal to noise outside the masks, data range 255; pictures without any change have none.",
    "context_ssim": "Structural similarity over 11 px windows that lie wholly outside the masks.",
    "seam_visibility": "Log of the gradient across the mask's edge over that beside it, after minus before.",
    "keypoint_nme": "Mean shift of the five keypoints over the face's size; beside it: of the null edit.",
    "head_pose_change": "Mean absolute change of the head's yaw on a face; beside it: in the null edit.",
    "expression_change": "Faces whose expression reads otherwise after; beside it: in the null edit.",
    "mouth_opening_change": "Mean absolute change of the gap between the lips over the mouth's width, from 68 "
    "landmarks; beside it: in the null edit.",
    "eye_opening_change": "Mean absolute change of the gap between the lids over the eye's width, mean of both eyes, "
    "from 68 landmarks; beside it: in the null edit.",
    "lpips": "LPIPS 0.1 on AlexNet outside the masks: what lies inside shows the same in both pictures, and each cell "
    "counts by its share outside. 0: no difference. Beside it: of the null edit.",
    "fid": "Squared Frechet distance between squares around the faces before and in the same places after, in the "
    "features of the network that is named (torchvision's Inception is not the FID paper's network, so the figure "
    "compares with others of this audit only). Few faces make it larger; beside it: of the null edit. The interval is "
    "from halves of the people.",
    "kid": "Squared maximum mean discrepancy of the same features, cubic kernel, mean over subsets; may fall under 0 "
    "where nothing differs. The interval is from halves of the people.",
    "kid_sd": "Standard deviation of KID over its subsets; n: faces in a subset.",
}
"""By metric."""
