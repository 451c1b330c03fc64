"""What a teacher says, kept on disk: computed once for every augmented image, then read by every run that asks.

One concept a file: `cache` (which teacher, images and augmentation a stored row belongs to), `rows` (the file: rows
that are believed only if whole), `chunks` (how the teacher is asked), `identity` (when two teachers are the same),
`batches` (what training reads).
"""

from tfnoisekd.teacher_cache.batches import CachedBatches
from tfnoisekd.teacher_cache.cache import DEFAULT_LIMIT, TeacherCache
from tfnoisekd.teacher_cache.identity import identify

__all__ = ["DEFAULT_LIMIT", "CachedBatches", "TeacherCache", "identify"]
