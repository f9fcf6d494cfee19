"""The mirror: the repositories of the RPKI, served at home.

Whoever validates needs some fifty repositories all over the world. When the links to them are cut, what a relying party has runs out in hours. So the
exchange holds a copy that is fetched as relying parties do, checked as far as one can without validating, and published again
under our own name: what comes out is what went in, object for object, and a signed checkpoint says so.

    reasons      why something that came from outside is not taken: a closed list of names
    uris         which names objects may have, and where they lie
    rrdp         notification, snapshot and delta as values (RFC 8182), read by a bounded parser, and spelled
    tree         which object is at which name: deltas applied, differences, the Merkle root
    https        one file over HTTPS, within bounds
    following    one repository from its last good state to the next: deltas, else snapshot, else rsync, else the last good state
    publishing   what was fetched as RRDP of our own and as folders for rsync, one generation after the other
    checkpoint   signed statements of what was published, and who says so
    witness      what checkpoints of others are worth: forks, replays, and when to co-sign
    anchors      trust anchors' certificates, and TALs with our URIs
    serving      the published files over HTTPS
    erik         the same told to, and heard from, others who keep a mirror (experimental)
    home         a declared mirror: one round of all this, and its folder

Objects lie in the archive (trust.archive), once. Nothing is validated here: what a repository publishes is mirrored also when it is expired or
forged, since it is for validators to say so, and two of them do.

    walk         the other way, for a folder instead of a declared mirror: by rsync alone, wherever certificates lead

Deliberately not here: RRDP of repositories that nobody declared. A certificate can name any URI; who follows
it goes wherever strangers send him.
"""
