from fewshot.label.desk import open_desk as open_desk
from fewshot.label.plan import ProjectPlan as ProjectPlan
from fewshot.label.plan import project_name as project_name
from fewshot.label.serve import serve_page as serve_page
