from fewshot.assessment.accuracy import MapAccuracy as MapAccuracy
from fewshot.assessment.accuracy import assess_counts as assess_counts
from fewshot.assessment.assess import AssessReport as AssessReport
from fewshot.assessment.assess import Places as Places
from fewshot.assessment.assess import assess_maps as assess_maps
from fewshot.assessment.design import Design as Design
from fewshot.assessment.drawing import draw_assessment as draw_assessment
from fewshot.assessment.sample import sample_map as sample_map
