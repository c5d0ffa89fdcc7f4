from fewshot.training.tuning.job import Found as Found
from fewshot.training.tuning.job import TuneRequest as TuneRequest
from fewshot.training.tuning.job import tune as tune
from fewshot.training.tuning.search import Search as Search
from fewshot.training.tuning.space import Varied as Varied
from fewshot.training.tuning.space import read_varied as read_varied
from fewshot.training.tuning.trial import Trial as Trial
