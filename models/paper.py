"""Which networks and mechanisms the paper's tables consist of.

Literals only: the workflow is planned from this file, without torch.
"""

BACKBONE = "edsr"  # the network whose slots any mechanism is put into
MECHANISM = "enlca"  # the paper's own: the last row of Table 2, the k-sweep, and what a comparison compares with
WITHOUT_LOSS = "enla"  # the same without the contrastive loss: Table 2 at k = 1, and at the amplification factor
TABLE4 = {"rounds": "nlsa", "m": "enlca"}  # what each list of options in Table 4 varies
EXPONENTIAL = ("nla", "enla", "enlca")  # weights exp(query·key) or an estimate of them: what `analyse` compares
SIDE_BY_SIDE = ("nla", "nlsa", "enlca")  # Figure 1, in this order before any others
